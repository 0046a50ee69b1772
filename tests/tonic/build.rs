//! Makes code of the example's service; `protox` is a compiler in Rust, so no `protoc` need be there.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../examples/ecosystem/proto";
    println!("cargo::rerun-if-changed={folder}");
    let files = protox::compile([format!("{folder}/numbers.proto")], [folder])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
