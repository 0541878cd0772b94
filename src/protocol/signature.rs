//! Detached signatures of library files, as minisign makes them (Ed25519 over BLAKE2b): service and agent check alike.

use minisign_verify::{Error, PublicKey, Signature, StreamVerifier};

use super::Problem;

/// A signature, and the key that has made it.
pub struct Signed {
    key: PublicKey,
    signature: Signature,
    name: String,
}

/// A signature that is checked as the content comes.
pub struct Checking<'s> {
    verifier: StreamVerifier<'s>,
    name: &'s str,
}

/// Whether a text is a public key of minisign: the whole `minisign.pub`, or its second line.
///
/// # Errors
/// When it is none.
pub fn check_key(text: &str) -> Result<(), Problem> {
    key(text).map(|_| ())
}

/// Whether a text is a signature at all.
///
/// # Errors
/// When it is none.
pub fn check_form(name: &str, text: &str) -> Result<(), Problem> {
    decode(name, text).map(|_| ())
}

impl Signed {
    /// The signature of a file, if it says that one of these keys has made it.
    ///
    /// # Errors
    /// `unsigned` without a signature, `bad_signature` when it is none, or of another key.
    pub fn by(name: &str, signature: Option<&str>, keys: &[String]) -> Result<Self, Problem> {
        let Some(text) = signature else {
            let message =
                format!("{name} has no signature, and unsigned scripts are switched off; library add {name} -signature FILE");
            return Err(Problem::new("unsigned", message).about(name));
        };
        let signature = decode(name, text)?;
        if keys.is_empty() {
            let message = format!("{name} cannot be checked: service.toml names no signing_keys");
            return Err(Problem::new("bad_signature", message).about(name));
        }
        for text in keys {
            let key = key(text)?;
            match key.verify_stream(&signature) {
                Ok(_) => return Ok(Self { key, signature, name: name.to_owned() }),
                Err(Error::UnexpectedKeyId) => {}
                Err(error) => return Err(bad(name, &error)),
            }
        }
        let message = format!("{name} is signed by a key that service.toml does not name");
        Err(Problem::new("bad_signature", message).about(name))
    }

    /// Begins to check.
    ///
    /// # Errors
    /// When the key has not made it after all.
    pub fn check(&self) -> Result<Checking<'_>, Problem> {
        let verifier = self.key.verify_stream(&self.signature).map_err(|error| bad(&self.name, &error))?;
        Ok(Checking { verifier, name: &self.name })
    }
}

impl Checking<'_> {
    /// Takes the next bytes of the content.
    pub fn take(&mut self, bytes: &[u8]) {
        self.verifier.update(bytes);
    }

    /// The content is at its end.
    ///
    /// # Errors
    /// When the signature is not one of this content.
    pub fn end(mut self) -> Result<(), Problem> {
        self.verifier.finalize().map_err(|error| bad(self.name, &error))
    }
}

fn key(text: &str) -> Result<PublicKey, Problem> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(line).map_err(|error| {
        Problem::new("bad_key", format!("{} is no public key of minisign: {error}", super::text::visible(line)))
    })
}

fn decode(name: &str, text: &str) -> Result<Signature, Problem> {
    Signature::decode(text).map_err(|error| bad(name, &error))
}

fn bad(name: &str, error: &Error) -> Problem {
    let why = match error {
        Error::InvalidSignature => "the signature is not one of this content",
        Error::UnsupportedLegacyMode => {
            "the signature is of minisign's old kind; sign it with minisign 0.10 or newer, or with -H"
        }
        _ => "what was given as its signature is none of minisign's",
    };
    Problem::new("bad_signature", format!("{name}: {why}")).about(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the documentation of minisign-verify: a key, and the signature of `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    fn code(signature: Option<&str>, keys: &[&str], content: &[u8]) -> Result<(), String> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let checked = Signed::by("x.sh", signature, &keys).and_then(|signed| {
            let mut checking = signed.check()?;
            content.chunks(3).for_each(|piece| checking.take(piece));
            checking.end()
        });
        checked.map_err(|problem| problem.code)
    }

    #[test]
    fn only_the_content_that_was_signed_by_a_known_key_passes() {
        let other = KEY.replace("GFO3", "GFP3");
        let file = format!("untrusted comment: minisign public key\n{KEY}\n");
        assert_eq!(code(Some(SIGNATURE), &[KEY], b"test"), Ok(()));
        assert_eq!(code(Some(SIGNATURE), &[&file], b"test"), Ok(()));
        let bad = Err("bad_signature".to_owned());
        assert_eq!(code(Some(SIGNATURE), &[KEY], b"tesT"), bad);
        assert_eq!(code(Some(SIGNATURE), &[KEY], b""), bad);
        assert_eq!(code(Some(SIGNATURE), &[], b"test"), bad);
        assert_eq!(code(Some(&SIGNATURE.replace("1633700835", "1633700836")), &[KEY], b"test"), bad);
        assert_eq!(code(Some(&SIGNATURE.replace("RUQf6L", "RUQf6M")), &[KEY], b"test"), bad, "another key's id");
        assert_eq!(code(Some(SIGNATURE), &[&other], b"test"), bad, "another key of that id");
        assert_eq!(code(Some("not a signature"), &[KEY], b"test"), bad);
        assert_eq!(code(None, &[KEY], b"test"), Err("unsigned".to_owned()));
        assert_eq!(code(Some(SIGNATURE), &["no key"], b"test"), Err("bad_key".to_owned()));
        assert!(check_key(&file).is_ok() && check_form("x", SIGNATURE).is_ok() && check_form("x", "").is_err());
    }
}
