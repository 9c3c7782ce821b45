//! Which server a request goes to: the one that has the beginning of its prompt in its cache, unless that one
//! has much more to do than another.

use std::sync::Arc;

/// What is known of each server.
#[derive(Debug, Default)]
struct Load {
    /// Requests that it has or waits for.
    requests: usize,
    /// The last prompt that it was given.
    last: Arc<[u32]>,
    /// Whether it takes requests.
    is_open: bool,
}

/// The choice among servers.
#[derive(Debug)]
pub(super) struct Balance {
    servers: Vec<Load>,
    /// How many more requests than the least loaded server one may have for the sake of its cache.
    slack: usize,
}

impl Balance {
    /// For servers that have `in_flight` requests at a time.
    pub fn new(servers: usize, in_flight: usize) -> Balance {
        let servers = (0..servers).map(|_| Load { is_open: true, ..Load::default() }).collect();
        Balance { servers, slack: in_flight / 2 }
    }

    /// Whether a server takes requests.
    pub fn set_open(&mut self, server: usize, is_open: bool) {
        self.servers[server].is_open = is_open;
    }

    /// A server for `requests` requests with one prompt, if possible another than `not`.
    pub fn choose(&mut self, prompt: &[u32], requests: usize, not: Option<usize>) -> usize {
        let server = self.best(prompt, not);
        self.servers[server].requests += requests;
        self.servers[server].last = prompt.into();
        server
    }

    /// One of a server's requests is answered or given back.
    pub fn done(&mut self, server: usize) {
        self.servers[server].requests -= 1;
    }

    fn best(&self, prompt: &[u32], not: Option<usize>) -> usize {
        let places = 0..self.servers.len();
        // A server that is down may come back, and is better than none.
        let penalty = |&at: &usize| (!self.servers[at].is_open, not == Some(at), self.servers[at].requests);
        let Some(least) = places.clone().min_by_key(penalty) else { return 0 };
        let can_have_it = |at: &usize| {
            let load = &self.servers[*at];
            load.is_open && not != Some(*at) && load.requests <= self.servers[least].requests + self.slack
        };
        // Templates give most prompts a short beginning in common, which is no reason to prefer a server.
        let cached = |at: usize| (common(&self.servers[at].last, prompt), at);
        let best = places.filter(can_have_it).map(cached).max_by_key(|(common, _)| *common);
        best.filter(|(common, _)| 2 * common > prompt.len()).map_or(least, |(_, at)| at)
    }
}

/// How many tokens two prompts have in common at their beginning.
fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_least_loaded_server() {
        let mut balance = Balance::new(3, 8);
        let chosen: Vec<usize> = (0..6).map(|prompt| balance.choose(&[prompt], 1, None)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
        balance.done(1);
        assert_eq!(balance.choose(&[9], 1, None), 1);
    }

    #[test]
    fn prompts_with_a_common_beginning_stay_together() {
        let mut balance = Balance::new(2, 8);
        assert_eq!(balance.choose(&[1, 2, 3, 4], 1, None), 0);
        assert_eq!(balance.choose(&[7, 7, 7, 7], 1, None), 1);
        assert_eq!(balance.choose(&[1, 2, 3, 5], 3, None), 0);
        assert_eq!(balance.choose(&[1, 2, 3, 9], 1, None), 0);
        assert_eq!(balance.choose(&[1, 2, 8, 9], 1, None), 1, "half of the prompt is too little");
    }

    #[test]
    fn a_cache_is_not_worth_any_wait() {
        let mut balance = Balance::new(2, 4);
        assert_eq!(balance.choose(&[1, 2], 3, None), 0);
        assert_eq!(balance.choose(&[1, 2], 1, None), 1, "server 0 has 3 more, 2 are allowed");
    }

    #[test]
    fn a_failed_request_goes_elsewhere_and_a_server_that_is_down_gets_none() {
        let mut balance = Balance::new(2, 4);
        assert_eq!(balance.choose(&[1], 1, None), 0);
        assert_eq!(balance.choose(&[1], 1, Some(0)), 1);
        balance.set_open(1, false);
        assert_eq!(balance.choose(&[2], 9, None), 0);
        assert_eq!(balance.choose(&[3], 1, None), 0);
        balance.set_open(0, false);
        balance.set_open(1, true);
        assert_eq!(balance.choose(&[1], 1, Some(1)), 1, "there is no other");
    }
}
