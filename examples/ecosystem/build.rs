//! Makes code of the service of `grpc`; `protox` is a compiler in Rust, so no `protoc` need be there.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/numbers.proto"], ["proto"])?;
    // The generated client's `connect` would be by tonic's own transport.
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
