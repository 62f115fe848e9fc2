//! Whether a file is the one that the hub lists: SHA-256 for large files (Git LFS), Git's own
//! object id for small ones, which is the SHA-1 of `blob <length>\0` and the content.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::repo::is_hex;
use crate::error::Result;

const BLOCK_BYTES: usize = 64;
const READ_BYTES: usize = 1 << 20;

/// What the content must come to; the text of it names the blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDigest {
    Sha256(String),
    GitBlob(String),
}

impl FileDigest {
    /// A digest by its length, as the hub's ETags come; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if is_hex(text, 64) {
            Some(Self::Sha256(text.to_owned()))
        } else if is_hex(text, 40) {
            Some(Self::GitBlob(text.to_owned()))
        } else {
            None
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::GitBlob(text) => text,
        }
    }

    /// Whether the file has this digest. Reads all of it.
    pub fn matches(&self, path: &Path) -> Result<bool> {
        let mut file = fs_err::File::open(path)?;
        let n_bytes = file.metadata()?.len();
        let mut buffer = vec![0; READ_BYTES];
        let mut large = Sha256::new();
        let mut small = Sha1::new();
        small.update(format!("blob {n_bytes}\0").as_bytes());
        loop {
            let n_read = file.read(&mut buffer)?;
            match self {
                _ if n_read == 0 => break,
                Self::Sha256(_) => large.update(&buffer[..n_read]),
                Self::GitBlob(_) => small.update(&buffer[..n_read]),
            }
        }
        Ok(match self {
            Self::Sha256(wanted) => hex(&large.finalize()) == *wanted,
            Self::GitBlob(wanted) => hex(&small.finish()) == *wanted,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-1 (FIPS 180-4), which names objects of Git. It tells damage, and is no proof against a
/// forger; weights are always under SHA-256.
struct Sha1 {
    state: [u32; 5],
    block: Vec<u8>,
    n_bytes: u64,
}

impl Sha1 {
    fn new() -> Self {
        let state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        Self { state, block: Vec::with_capacity(BLOCK_BYTES), n_bytes: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.n_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let n_taken = bytes.len().min(BLOCK_BYTES - self.block.len());
            self.block.extend_from_slice(&bytes[..n_taken]);
            bytes = &bytes[n_taken..];
            if self.block.len() == BLOCK_BYTES {
                self.compress();
                self.block.clear();
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let n_bits = self.n_bytes * 8;
        self.update(&[0x80]);
        while self.block.len() != BLOCK_BYTES - 8 {
            self.update(&[0]);
        }
        self.update(&n_bits.to_be_bytes());
        self.state.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn compress(&mut self) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        for i in 16..80 {
            words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = self.state;
        for (i, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match i {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999_u32),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (held, new) in self.state.iter_mut().zip([a, b, c, d, e]) {
            *held = held.wrapping_add(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha1(bytes: &[u8]) -> String {
        let mut hash = Sha1::new();
        hash.update(bytes);
        hex(&hash.finish())
    }

    #[test]
    fn sha1_agrees_with_the_standard() {
        assert_eq!(sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sha1(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let million = vec![b'a'; 1_000_000];
        assert_eq!(sha1(&million), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn a_file_is_known_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        // `git hash-object` and `sha256sum` of the same file.
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for digest in [git, sha256] {
            let digest = FileDigest::parse(digest).unwrap();
            assert!(digest.matches(&path).unwrap(), "{digest:?}");
            std::fs::write(&path, "hello").unwrap();
            assert!(!digest.matches(&path).unwrap(), "{digest:?}");
            std::fs::write(&path, "hello\n").unwrap();
        }
        assert_eq!(FileDigest::parse("../../etc"), None);
    }
}
