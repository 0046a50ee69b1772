//! Front door.
#![allow(dead_code)]

mod base;
