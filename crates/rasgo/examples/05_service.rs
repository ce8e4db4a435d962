//! A model behind a service: several threads share one `Arc<SavedModel>` and answer over TCP. Eight clients of the
//! example's own check every answer to the bit; then it ends.
//! `cargo run --release -p rasgo --example 05_service`, or with a run folder: `… 05_service runs/mnist-rasgo-small-1`
//!
//! A request is the pixels, up to the end of the stream. The answer is a 0 and a probability (f32, little endian) for
//! each class, or a 1 and the text of an error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rasgo::formats::ResizeRule;
use rasgo::prelude::*;
use rasgo::train::{ModelInfo, Precision, SavedModel, Views};

const WORKERS: usize = 4;
const CLIENTS: usize = 8;
const IMAGES: usize = 250;
/// Of a longer request no more is read.
const MOST_BYTES: u64 = 1 << 20;

/// LeNet-5 after two hundred steps: enough to have something to serve.
fn train_a_moment(data: Arc<dyn Dataset>) -> Result<SavedModel> {
    let classes = data.classes().to_vec();
    let normalize = data::Normalize::new(vec![0.1307], vec![0.3081])?;
    let loader = Loader::new(data, LoaderOptions::new().shuffle(1).normalize(normalize.clone()))?;
    let mut network = zoo::named("lenet5")?.architecture().build()?;
    let mut opt = Optimizer::adamw(2e-3);
    for batch in loader.epoch(0).take(200) {
        let batch = batch?;
        let loss = network.forward(batch.input)?.cross_entropy(&batch.target, Default::default())?;
        opt.step(&mut network, loss.backward()?)?;
    }
    network.eval();
    let (resize, data) = (ResizeRule::default(), "mnist".to_string());
    let info = ModelInfo { classes, normalize, resize, data, views: Views::ONE, precision: Precision::F32 };
    Ok(SavedModel { network, info })
}

fn encode(probabilities: Vec<f32>) -> Vec<u8> {
    [0].into_iter().chain(probabilities.into_iter().flat_map(f32::to_le_bytes)).collect()
}

fn answer(model: &SavedModel, pixels: &[u8]) -> Vec<u8> {
    let input = model.network.architecture().input.clone();
    match Tensor::from_slice(pixels, input).and_then(|image| model.predict(&image)) {
        Ok(probabilities) => encode(probabilities),
        Err(error) => [1].into_iter().chain(error.to_string().into_bytes()).collect(),
    }
}

fn serve(model: &SavedModel, mut stream: TcpStream) -> io::Result<()> {
    // Without it, a client that sends nothing would keep its worker for ever.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut pixels = Vec::new();
    (&stream).take(MOST_BYTES).read_to_end(&mut pixels)?;
    stream.write_all(&answer(model, &pixels))
}

fn ask(address: SocketAddr, pixels: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(pixels)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Asks for every picture, wants the bits that one thread alone computed, and sends one request that is wrong.
fn client(address: SocketAddr, images: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for (pixels, expected) in images {
        if ask(address, pixels)? != *expected {
            return Err(io::Error::other("an answer differs from that of one thread"));
        }
    }
    match ask(address, &[7; 10])?.as_slice() {
        [1, ..] => Ok(()),
        _ => Err(io::Error::other("ten pixels were taken for a picture")),
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let model = Arc::new(match std::env::args().nth(1) {
        Some(run) => SavedModel::load(run)?,
        None => train_a_moment(data::open("mnist")?.train)?,
    });
    let test = data::open(&model.info.data)?.test.ok_or("the data has no test images")?;
    let images = (0..IMAGES.min(test.len())).map(|i| {
        let image = test.get(i)?.input;
        Ok((image.to_vec::<u8>()?, encode(model.predict(&image)?)))
    });
    let images = Arc::new(images.collect::<Result<Vec<_>>>()?);

    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    for _ in 0..WORKERS {
        let (model, listener) = (Arc::clone(&model), Arc::clone(&listener));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if let Err(error) = stream.and_then(|stream| serve(&model, stream)) {
                    eprintln!("a connection broke: {error}");
                }
            }
        });
    }
    let start = Instant::now();
    let clients = [(); CLIENTS].map(|()| {
        let images = Arc::clone(&images);
        thread::spawn(move || client(address, &images))
    });
    for client in clients {
        client.join().map_err(|_| "a client panicked")??;
    }
    let requests = CLIENTS * images.len();
    let rate = requests as f64 / start.elapsed().as_secs_f64();
    println!("{requests} answers, each as one thread computes it to the bit; {rate:.0} requests a second");
    Ok(())
}
