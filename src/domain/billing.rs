//! Servers whose price may go on while they are stopped. What is published about it is unverified, so it is said and never enforced.

use super::server::Traits;

/// What a person should look up about a server before counting on a stop to save money; `None` where nothing is known against it.
///
/// By public reports, bare-metal and GPU servers and those at a monthly rate (`FXSUM`) may be charged in full while stopped.
#[must_use]
pub fn warning(traits: Option<&Traits>) -> Option<&'static str> {
    let traits = traits?;
    // Codes are words between dots, such as `SVR.VSVR.GPU.T4`.
    let speaks_of = |word: &str| {
        let codes = [&traits.kind, &traits.product, &traits.spec];
        codes.iter().flat_map(|code| code.split(['.', '-', '_'])).any(|part| part.eq_ignore_ascii_case(word))
    };
    if speaks_of("FXSUM") {
        Some("a server at a monthly rate may be charged in full while stopped (unverified)")
    } else if speaks_of("GPU") {
        Some("a GPU server may be charged in full while stopped (unverified)")
    } else if speaks_of("BM") {
        Some("a bare-metal server may be charged in full while stopped (unverified)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_reports_name_are_warned_about() {
        let of = |kind: &str, spec: &str| {
            warning(Some(&Traits { kind: kind.into(), spec: spec.into(), ..Traits::default() }))
        };

        assert_eq!(of("CPU", "ci4-g3"), None);
        assert!(of("GPU", "").is_some_and(|words| words.contains("GPU")));
        assert!(of("BM", "").is_some_and(|words| words.contains("bare-metal")));
        assert_eq!(warning(None), None);
    }
}
