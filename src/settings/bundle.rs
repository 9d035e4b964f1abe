//! A configuration file and the files that it includes, as one text: what is read, kept in the journal and shown is always the whole.

use std::ops::Range;
use std::path::Path;

/// How the line begins that stands before the text of an included file.
const MARK: &str = "## sunup: included from ";

/// One file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The path of an included file, from the folder of the file that includes it; `None` for that file itself.
    pub name: Option<&'a str>,
    /// Where its text stands in the whole.
    pub range: Range<usize>,
}

/// The whole of a file and of those that it includes, each a path and a text.
///
/// # Errors
/// The path of a text that cannot be told from such a whole; empty for the file itself.
pub fn join<'a>(main: &str, included: &'a [(String, String)]) -> Result<String, &'a str> {
    let is_odd = |text: &str| text.lines().any(|line| line.starts_with(MARK));
    if is_odd(main) {
        return Err("");
    }
    let mut whole = main.to_owned();
    for (name, text) in included {
        if is_odd(text) || name.contains(char::is_control) {
            return Err(name);
        }
        if !whole.is_empty() && !whole.ends_with('\n') {
            whole.push('\n');
        }
        whole.push_str(MARK);
        whole.push_str(name);
        whole.push('\n');
        whole.push_str(text);
    }
    Ok(whole)
}

/// The files of a whole, the one that includes the others first.
#[must_use]
pub fn parts(whole: &str) -> Vec<Part<'_>> {
    let mut parts = vec![Part { name: None, range: 0..whole.len() }];
    let mut at = 0;
    for line in whole.split_inclusive('\n') {
        let after = at + line.len();
        if let Some(name) = line.strip_prefix(MARK) {
            if let Some(last) = parts.last_mut() {
                last.range.end = at;
            }
            parts.push(Part { name: Some(name.trim_end()), range: after..whole.len() });
        }
        at = after;
    }
    parts
}

/// The file of a whole to which a place belongs, by the path of the file that includes the others; with the file's text in the whole.
#[must_use]
pub fn place<'a>(whole: &'a str, offset: usize, path: &str) -> (String, &'a str, usize) {
    let part = parts(whole).into_iter().rfind(|part| part.range.start <= offset);
    let (name, range) = part.map_or((None, 0..whole.len()), |part| (part.name, part.range));
    let shown = match name {
        Some(name) => Path::new(path).with_file_name("").join(name).display().to_string(),
        None => path.to_owned(),
    };
    (shown, whole.get(range.clone()).unwrap_or_default(), range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn included(parts: &[(&str, &str)]) -> Vec<(String, String)> {
        parts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_whole_comes_apart_into_the_files_that_it_was_made_of() {
        let files = included(&[("d/a.toml", "[groups.a]\n"), ("d/b.toml", "x"), ("d/c.toml", "")]);

        let whole = join("timezone = 'UTC'", &files).unwrap();

        let apart: Vec<(Option<&str>, &str)> =
            parts(&whole).into_iter().map(|part| (part.name, &whole[part.range])).collect();
        assert_eq!(
            apart,
            [
                (None, "timezone = 'UTC'\n"),
                (Some("d/a.toml"), "[groups.a]\n"),
                (Some("d/b.toml"), "x\n"),
                (Some("d/c.toml"), "")
            ]
        );
        assert_eq!(join("a = 1", &[]).unwrap(), "a = 1");
    }

    #[test]
    fn a_place_is_told_by_its_own_file() {
        let whole = join("a = 1\n", &included(&[("d/a.toml", "b = 2\n")])).unwrap();
        let at = |text: &str| place(&whole, whole.find(text).unwrap(), "/etc/sunup/sunup.toml");

        assert_eq!(at("a = 1"), ("/etc/sunup/sunup.toml".into(), "a = 1\n", 0));
        let (path, text, start) = at("b = 2");
        assert_eq!((path.as_str(), text), ("/etc/sunup/d/a.toml", "b = 2\n"));
        assert_eq!(&whole[start..], "b = 2\n");
        let absolute = join("", &included(&[("/srv/a.toml", "b")])).unwrap();
        assert_eq!(place(&absolute, absolute.len(), "sunup.toml").0, "/srv/a.toml");
    }

    #[test]
    fn what_would_be_taken_for_the_beginning_of_another_file_is_refused() {
        let odd = format!("a = 1\n{MARK}x\n");

        assert_eq!(join(&odd, &[]), Err(""));
        assert_eq!(join("", &included(&[("d/a.toml", &odd)])), Err("d/a.toml"));
        assert_eq!(join("", &included(&[("d/a\n.toml", "")])), Err("d/a\n.toml"));
    }
}
