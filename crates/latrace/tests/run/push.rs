//! `latrace push`, against a hub on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use super::bench::{Bench, contents};
use super::hub::{Fault, Hub, TOKEN};

/// A finished run, made once.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::new();
        bench.done("r", &["skip=[\"rft\"]", "initial.max_steps=4", "posterior.max_steps=4", "traces.n=2"]);
        bench
    })
}

fn command(hub: &Hub, token: &str, arguments: &[&str]) -> Command {
    let mut command = bench().latrace(&["push", "r", "org/walk"]);
    command.args(arguments).env("HF_ENDPOINT", &hub.endpoint).env("HF_TOKEN", token);
    command.env("HF_HOME", bench().folder.path()).env_remove("HF_HUB_OFFLINE");
    command
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    // Neither the token nor what gives access to storage.
    assert!(!said.contains(TOKEN) && !said.contains("signature"), "{said}");
    said
}

#[track_caller]
fn push(hub: &Hub, arguments: &[&str], code: i32) -> String {
    said(&command(hub, TOKEN, arguments).output().unwrap(), code)
}

/// The files of the run's model.
fn model() -> BTreeMap<String, Vec<u8>> {
    contents(&bench().run_folder("r/model"))
}

#[test]
fn a_model_becomes_one_commit_and_what_is_there_is_not_sent_again() {
    let hub = Hub::start();
    let listed = push(&hub, &["--dry-run"], 0);
    assert!(listed.contains("| model.safetensors") && listed.contains("README.md"), "{listed}");
    assert!(listed.contains("to org/walk (branch main): Model of the run r"), "{listed}");
    assert!(hub.held().repositories.is_empty(), "a dry run asks for nothing");

    let done = push(&hub, &["--private"], 0);
    assert!(done.contains(&format!("{}/commit/c0", hub.endpoint)), "{done}");
    {
        let held = hub.held();
        assert_eq!(held.offences, [""; 0]);
        assert!(held.repositories["org/walk"]);
        assert_eq!(held.commits, [("main".to_owned(), "Model of the run r".to_owned(), model())]);
    }
    let puts = hub.held().puts;
    let again = push(&hub, &[], 0);
    let all = model().len();
    assert!(
        again.contains(&format!("Nothing to do: org/walk (branch main) has all {all} files already.")),
        "{again}"
    );
    // A new branch has what the main one has.
    push(&hub, &["--revision", "second"], 0);
    assert_eq!(hub.held().commits.len(), 1);
    // Two large files are changed there, and a small one is gone.
    for (name, content) in
        [("README.md", Some(b"other".to_vec())), ("model.safetensors", Some(vec![7])), ("config.json", None)]
    {
        let mut held = hub.held();
        let branch = held.branches.get_mut("second").unwrap();
        branch.remove(name);
        branch.extend(content.map(|content| (name.to_owned(), content)));
    }
    let mended = push(&hub, &["--revision", "second", "--message", "Words"], 0);
    let unchanged = all - 3;
    assert!(
        mended.contains(&format!(
            "Uploaded 0 large files; 2 more were there already; {unchanged} files are unchanged"
        )),
        "{mended}"
    );
    let held = hub.held();
    let changed = ["README.md", "config.json", "model.safetensors"]
        .map(|name| (name.to_owned(), model()[name].clone()));
    assert_eq!((held.puts, held.commits.len()), (puts, 2));
    assert_eq!(held.commits[1], ("second".to_owned(), "Words".to_owned(), changed.into()));
    assert_eq!(held.branches["second"], model());
}

#[test]
fn what_fails_for_a_while_is_tried_again() {
    let hub = Hub::start();
    hub.held().fault = Fault::Busy(2);
    let done = push(&hub, &[], 0);
    assert!(done.contains("answers with status 503: Slow down; attempt 3 of 5 follows"), "{done}");
    assert_eq!(hub.held().commits[0].2, model());
}

#[test]
fn an_upload_that_failed_or_was_killed_goes_on() {
    let hub = Hub::start();
    hub.held().fault = Fault::Busy(1000);
    let failed = push(&hub, &[], 1);
    assert!(failed.contains("cannot upload to org/walk") && failed.contains("503"), "{failed}");
    assert!(failed.contains("hint: the same command goes on"), "{failed}");
    {
        let mut held = hub.held();
        assert!(held.commits.is_empty() && !held.objects.is_empty(), "objects before the commit");
        (held.fault, held.puts) = (Fault::Stalls, 0);
    }
    let stored = hub.held().objects.len();
    let mut child = command(&hub, TOKEN, &[]).spawn().unwrap();
    while hub.held().puts < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    hub.held().fault = Fault::None;
    let done = push(&hub, &[], 0);
    assert!(done.contains(&format!("; {stored} more were there already")), "{done}");
    let held = hub.held();
    assert_eq!((held.commits.len(), &held.commits[0].2), (1, &model()));
    assert_eq!(held.offences, [""; 0]);
}

#[test]
fn what_may_not_be_pushed_is_refused() {
    let hub = Hub::start();
    let refused = said(&command(&hub, "hf_wrong", &[]).output().unwrap(), 1);
    assert!(refused.contains("answers with status 401: Invalid credentials"), "{refused}");
    assert!(refused.contains("HF_TOKEN must be a token that may write to org/walk"), "{refused}");
    assert!(!refused.contains("hf_wrong"), "{refused}");
    let without = said(&command(&hub, "", &[]).output().unwrap(), 1);
    assert!(without.contains("there is no token for the hub"), "{without}");
    let offline = said(&command(&hub, TOKEN, &[]).env("HF_HUB_OFFLINE", "1").output().unwrap(), 1);
    assert!(offline.contains("HF_HUB_OFFLINE is set"), "{offline}");

    hub.held().repositories.insert("org/walk".to_owned(), false);
    let public = push(&hub, &["--private"], 1);
    assert!(public.contains("org/walk exists, and is public"), "{public}");
    assert!(hub.held().commits.is_empty());
}

#[test]
fn an_unfinished_run_is_not_pushed() {
    let (hub, bench) = (Hub::start(), bench());
    // What is left of it is a finished run, one stage of which is to be done again.
    let run = bench.run_folder("unfinished");
    for (name, bytes) in contents(&bench.run_folder("r")) {
        fs::create_dir_all(run.join(&name).parent().unwrap()).unwrap();
        fs::write(run.join(name), bytes).unwrap();
    }
    let mut command = bench.latrace(&["push", "unfinished", "org/walk"]);
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_TOKEN", TOKEN).env("HF_HOME", bench.folder.path());
    let refused = said(&command.output().unwrap(), 1);
    assert!(refused.contains("unfinished is not finished: 0 of"), "{refused}");
    let nowhere = bench.latrace(&["push", "nowhere", "org/walk"]).output().unwrap();
    assert_ne!(nowhere.status.code(), Some(0));
    let unnamed = bench.latrace(&["push", "r", "walk"]).output().unwrap();
    assert!(said(&unnamed, 2).contains("expected a repository org/name"));
}
