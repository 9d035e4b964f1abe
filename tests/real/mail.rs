//! Notices by mail: a server that speaks SMTP over TLS takes what the program sends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::Bench;

/// A mail server on this machine: what it was told, line by line.
struct Post {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Talks as a server does that asks for a password, and takes everything, or refuses one recipient.
fn talk(stream: &mut (impl Read + Write), lines: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let say = |stream: &mut dyn Write, text: &str| stream.write_all(format!("{text}\r\n").as_bytes());
    say(stream, "220 post ready")?;
    let mut in_data = false;
    loop {
        let mut line = String::new();
        let mut byte = [0_u8; 1];
        while !line.ends_with('\n') {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            line.push(char::from(byte[0]));
        }
        let line = line.trim_end().to_owned();
        lines.lock().unwrap().push(line.clone());
        let answer = match line.as_str() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => continue,
            line if line.starts_with("EHLO") => "250-post\r\n250 AUTH PLAIN LOGIN",
            line if line.starts_with("AUTH PLAIN") => "235 welcome",
            line if line.starts_with("RCPT TO:<nobody@") => "550 no such mailbox here",
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            // A server that has taken the mail and never says farewell.
            "QUIT" if lines.lock().unwrap().iter().any(|line| line.contains("silent@")) => continue,
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        say(stream, answer)?;
    }
}

impl Post {
    /// Writes its certificate where the program will look for roots.
    fn new(bench: &Bench) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        fs::write(bench.path("roots.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let (port, lines) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // Whoever hangs up early is no matter.
                let _ = talk(&mut StreamOwned::new(connection, stream), &kept);
            }
        });
        Self { port, lines }
    }

    fn told(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

fn secret(bench: &Bench, text: &str) -> String {
    let path = bench.path("smtp");
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("smtp = {{ file = \"{}\" }}\n", path.display())
}

#[test]
fn a_notice_goes_by_mail_over_tls_with_user_and_password_and_a_refusal_is_told_without_them() {
    let bench = Bench::new(&[]);
    let post = Post::new(&bench);
    let smtp = secret(&bench, &format!("smtps://kim%40example.com:canary-pw@127.0.0.1:{}", post.port));
    let mail = |to: &str| {
        format!(
            "[notify.mail]\nkind = \"email\"\n{smtp}from = \"Sunup <sunup@example.com>\"\nto = [\"ops@example.com\", \
             \"{to}\"]\nallow_private = true\n"
        )
    };
    bench.configure(&mail("Lee <lee@example.com>"));
    let tried = |roots: &str| {
        let mut command = bench.command(&["notify", "test", "mail"]);
        let output = command.env("SSL_CERT_FILE", bench.path(roots)).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!err.contains("canary") && !out.contains("canary"), "{out}{err}");
        (output.status.code(), format!("{out}{err}"))
    };

    let (code, words) = tried("roots.pem");

    assert_eq!(code, Some(0), "{words}");
    let told = post.told();
    for line in [
        // `\0kim@example.com\0canary-pw` in base64.
        "AUTH PLAIN AGtpbUBleGFtcGxlLmNvbQBjYW5hcnktcHc=",
        "MAIL FROM:<sunup@example.com>",
        "RCPT TO:<ops@example.com>",
        "RCPT TO:<lee@example.com>",
        "Subject: Sunup on ",
        "This is a test of notifier mail",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    // One who is not known there keeps nobody else from being told; if nobody is known, that is told by the server's code alone.
    bench.configure(&mail("nobody@example.com"));
    post.lines.lock().unwrap().clear();
    let (code, words) = tried("roots.pem");
    assert_eq!(code, Some(0), "{words}");
    assert!(
        post.told().contains("RCPT TO:<ops@example.com>") && post.told().contains("DATA"),
        "{}",
        post.told()
    );
    bench.configure(&mail("nobody@example.com").replace("ops@", "nobody@"));
    let (code, words) = tried("roots.pem");
    assert_eq!(code, Some(69), "{words}");
    assert!(words.contains("answered 550") && !words.contains("mailbox"), "{words}");

    // Nobody who cannot show a certificate that is trusted is told a password.
    fs::write(
        bench.path("other.pem"),
        rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap().cert.pem(),
    )
    .unwrap();
    post.lines.lock().unwrap().clear();
    let (code, words) = tried("other.pem");
    assert_eq!(code, Some(69), "{words}");
    assert!(words.contains("certificate"), "{words}");
    assert!(!post.told().contains("AUTH"), "{}", post.told());
}

#[test]
fn a_mail_that_was_taken_is_not_sent_again_because_the_server_is_silent_at_the_farewell() {
    let bench = Bench::new(&[]);
    let post = Post::new(&bench);
    let smtp = secret(&bench, &format!("smtps://kim:pw@127.0.0.1:{}", post.port));
    bench.configure(&format!(
        "[notify.mail]\nkind = \"email\"\n{smtp}from = \"silent@example.com\"\nto = \"ops@example.com\"\nallow_private = true\n"
    ));

    let sent =
        bench.command(&["notify", "test", "mail"]).env("SSL_CERT_FILE", bench.path("roots.pem")).output();

    assert_eq!(sent.unwrap().status.code(), Some(0));
    assert_eq!(post.told().matches("RCPT TO:<ops@example.com>").count(), 1);
}

#[test]
fn a_mail_server_that_cannot_encrypt_is_told_nothing_unless_it_is_on_this_machine() {
    let bench = Bench::new(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = talk(&mut stream, &kept);
        }
    });
    let smtp = secret(&bench, &format!("smtp://127.0.0.1:{port}"));
    let mail =
        format!("[notify.mail]\nkind = \"email\"\n{smtp}from = \"a@example.com\"\nto = \"b@example.com\"\n");
    bench.configure(&mail);
    let refused = bench.shown_with(&["notify", "test", "mail"], 69);
    assert!(refused.contains("allow_private = true"), "{refused}");
    bench.configure(&format!("{mail}allow_private = true\n"));

    bench.shown(&["notify", "test", "mail"]);

    assert!(lines.lock().unwrap().contains(&"RCPT TO:<b@example.com>".to_owned()));
    let lacking = bench.path("sunup.toml");
    let text = fs::read_to_string(&lacking).unwrap().replace("b@example.com", "b").replace(&smtp, "");
    fs::write(&lacking, text).unwrap();
    let odd = bench.shown_with(&["check"], 78);
    assert!(odd.contains("`b` is no mail address") && odd.contains("has no `smtp`"), "{odd}");
}
