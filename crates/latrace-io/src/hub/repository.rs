//! Names: of what lies on the hub, and of files in it.

use std::fmt;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepositoryKind {
    /// The word for it.
    pub fn noun(self) -> &'static str {
        match self {
            RepositoryKind::Model => "model",
            RepositoryKind::Dataset => "data set",
        }
    }

    /// What to do where one is neither cached nor within reach.
    pub fn remedy(self) -> &'static str {
        match self {
            RepositoryKind::Model => {
                "put the model in a folder and name the folder, or fill the cache where there is a network (HF_HOME says where it is)"
            }
            RepositoryKind::Dataset => {
                "give the rows in a file (--data FILE, or its path in the recipe), or fill the cache where there is a network (HF_HOME says where it is)"
            }
        }
    }

    /// In URLs of files, before the id.
    fn file_prefix(self) -> &'static str {
        match self {
            RepositoryKind::Model => "",
            RepositoryKind::Dataset => "datasets/",
        }
    }

    /// In paths of the hub's interface, and in names of the cache's folders.
    pub fn plural(self) -> &'static str {
        match self {
            RepositoryKind::Model => "models",
            RepositoryKind::Dataset => "datasets",
        }
    }
}

/// `org/name[@revision]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: RepositoryKind,
    /// `org/name`.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Repository {
    /// `None` for what cannot be a hub id.
    pub fn parse(kind: RepositoryKind, text: &str) -> Option<Repository> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (organisation, name) = id.split_once('/')?;
        // Names become folders of the cache, and must not lead out of it.
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && !part.contains("..")
                && part.chars().all(is_plain)
        };
        let is_revision =
            revision.split('/').all(|part| !part.is_empty() && part != ".." && part.chars().all(is_plain));
        (is_name(organisation) && is_name(name) && is_revision).then(|| Repository {
            kind,
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// Whether the revision is a commit, which never changes.
    pub fn is_commit(&self) -> bool {
        self.revision.len() == 40 && self.revision.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The folder's name in the cache.
    pub fn folder_name(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.id.replace('/', "--"))
    }

    /// Where the hub lists it.
    pub fn listing_path(&self) -> String {
        format!("api/{}/{}/revision/{}", self.kind.plural(), self.id, self.revision.replace('/', "%2F"))
    }

    /// Where the hub has one of its files.
    pub fn file_path(&self, commit: &str, name: &str) -> String {
        format!("{}{}/resolve/{commit}/{}", self.kind.file_prefix(), self.id, escaped(name))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// A file's name as part of an address.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match char::from(byte) {
        c if c == '/' || is_plain(c) => c.to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

/// The names that match each pattern in turn, by name within each, none twice.
pub fn matching(names: &[String], patterns: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for pattern in patterns {
        let mut of_pattern: Vec<&String> =
            names.iter().filter(|name| matches(pattern, name) && !found.contains(name)).collect();
        of_pattern.sort();
        found.extend(of_pattern.into_iter().cloned().collect::<Vec<_>>());
    }
    found
}

/// Whether `name` is `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, rest)) => name.strip_prefix(before).is_some_and(|after| {
            // A name may hold any characters, and a slice must not begin within one.
            (0..=after.len()).any(|at| after.is_char_boundary(at) && matches(rest, &after[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let parsed = Repository::parse(RepositoryKind::Model, text);
        assert_eq!(parsed.as_ref().map(|it| (it.id.as_str(), it.revision.as_str())), expected, "{text:?}");
    }

    #[test]
    fn hub_ids_are_told_from_paths() {
        check("org/name", Some(("org/name", "main")));
        check("org/name@refs/convert/parquet", Some(("org/name", "refs/convert/parquet")));
        check("Qwen/Qwen3-4B-Base@v1.0", Some(("Qwen/Qwen3-4B-Base", "v1.0")));
        for path in [
            "name",
            "./a",
            "/a/b",
            "../a",
            "a/b/c",
            "a/",
            "/",
            "",
            "a b/c",
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/..",
            "~/models",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn names_become_addresses_and_folders() {
        let set = Repository::parse(RepositoryKind::Dataset, "o/n@refs/pr/1").unwrap();
        assert_eq!(set.folder_name(), "datasets--o--n");
        assert_eq!(set.listing_path(), "api/datasets/o/n/revision/refs%2Fpr%2F1");
        assert_eq!(set.file_path("c0", "a b/é.jsonl"), "datasets/o/n/resolve/c0/a%20b/%C3%A9.jsonl");
        assert_eq!(set.to_string(), "o/n@refs/pr/1");
    }

    #[test]
    fn patterns_choose_names_in_their_own_order() {
        let names: Vec<String> = [
            "data/test-1.parquet",
            "data/test-0.parquet",
            "data/train-0.parquet",
            "test.jsonl",
            "test2.jsonl",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            matching(&names, &["data/test-*.parquet"]),
            ["data/test-0.parquet", "data/test-1.parquet"]
        );
        assert_eq!(matching(&names, &["test2.jsonl", "test*.jsonl"]), ["test2.jsonl", "test.jsonl"]);
        assert_eq!(matching(&names, &["*train*"]), ["data/train-0.parquet"]);
        assert!(matching(&names, &["test"]).is_empty());
    }
}
