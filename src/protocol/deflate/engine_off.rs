//! In the place of `engine`, without the feature `deflate`: nothing here is ever made.

use std::convert::Infallible;

use super::params::Shape;

#[derive(Debug)]
pub(super) struct Compressor(Infallible);

impl Compressor {
    pub(super) fn take(_: Shape) -> Self {
        unreachable!("a shape is made from a `Compression`, of which there is none")
    }

    pub(super) fn put_back(self) {
        match self.0 {}
    }

    pub(super) fn restart(&mut self, _: &[u8]) {
        match self.0 {}
    }

    pub(super) fn compress(&mut self, _: &[u8], _: &mut Vec<u8>, _: bool) {
        match self.0 {}
    }
}

pub(super) fn compressor_size(_: Shape) -> usize {
    0
}

#[derive(Debug)]
pub(super) struct Decompressor(Infallible);

#[derive(Debug)]
pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) given: usize,
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Corrupt {
    pub(super) given: usize,
}

impl Decompressor {
    pub(super) fn take() -> Self {
        unreachable!("nothing is agreed on without a `Compression`, of which there is none")
    }

    pub(super) fn put_back(self) {
        match self.0 {}
    }

    pub(super) fn restart(&mut self, _: &[&[u8]]) {
        match self.0 {}
    }

    pub(super) fn step(&mut self, _: &[u8], _: &mut [u8]) -> Result<Step, Corrupt> {
        match self.0 {}
    }
}
