//! Valid dialogs made at random: n requests in, n messages out, in any pieces.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use crate::transcript::play;
use autospan_core::protocol::http1::DEFINITION;
use autospan_core::protocol::{RequestHead, ResponseHead, Side};
use proptest::collection::vec;
use proptest::prelude::*;

/// A body and how it is framed.
#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    request: Body,
    interim: bool,
    status: u16,
    response: Body,
}

impl Body {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(b"\r\n"),
            Self::Length(bytes) => {
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Chunked(chunks) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Length(bytes) => bytes.len() as u64,
            Self::Chunked(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        }
    }
}

impl Exchange {
    fn has_response_body(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status, 204 | 304)
    }

    fn request_bytes(&self, ordinal: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} /{ordinal} HTTP/1.1\r\nHost: a\r\n", self.method).as_bytes());
        self.request.write(out);
    }

    fn response_bytes(&self, out: &mut Vec<u8>) {
        if self.interim {
            out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        }
        out.extend_from_slice(format!("HTTP/1.1 {} X\r\n", self.status).as_bytes());
        match &self.response {
            body if self.has_response_body() => body.write(out),
            _ => out.extend_from_slice(b"\r\n"),
        }
    }
}

/// Bytes that look like messages and chunks now and then.
fn body_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..100),
        Just(b"GET /not-a-request HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"\r\n0\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ]
}

fn framed() -> impl Strategy<Value = Body> {
    let chunk = body_bytes().prop_filter("an empty chunk is the last", |bytes| !bytes.is_empty());
    prop_oneof![body_bytes().prop_map(Body::Length), vec(chunk, 0..4).prop_map(Body::Chunked)]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]);
    let status = prop::sample::select(vec![200u16, 201, 204, 304, 404, 500]);
    let request = prop_oneof![Just(Body::None), framed()];
    (method, request, any::<bool>(), status, framed()).prop_map(|(method, request, interim, status, response)| {
        Exchange { method, request, interim, status, response }
    })
}

/// All of one side's bytes, cut into calls, and the calls into pieces.
fn turns(side: Side, bytes: &[u8], cuts: &[(prop::sample::Index, bool)]) -> Vec<Turn> {
    let mut places: Vec<_> = cuts.iter().map(|(at, call)| (at.index(bytes.len() + 1), *call)).collect();
    places.push((bytes.len(), true));
    places.sort_unstable();
    let mut from = 0;
    let piece = |(to, call_end)| {
        let bytes = bytes[from..to].to_vec();
        from = to;
        Turn::Bytes { side, bytes, call_end }
    };
    places.into_iter().map(piece).collect()
}

/// Both sides' turns, interleaved as told.
fn interleaved(mut a: Vec<Turn>, mut b: Vec<Turn>, order: &[bool]) -> Vec<Turn> {
    let mut out = Vec::new();
    for from_a in order {
        let source = if *from_a { &mut a } else { &mut b };
        if !source.is_empty() {
            out.push(source.remove(0));
        }
    }
    out.extend(a);
    out.extend(b);
    out
}

fn bodies(driver: &Driver, of: Side) -> Vec<u64> {
    let of_side = driver.seen.iter().filter(|(side, _)| *side == of);
    of_side
        .filter_map(|(_, seen)| match seen {
            Seen::End(end) => end.body_bytes,
            _ => None,
        })
        .collect()
}

fn targets(driver: &Driver) -> Vec<String> {
    let target = |seen: &Seen| match seen {
        Seen::Request(head) => match &**head {
            RequestHead::Http(request) => Some(request.target.clone()),
            RequestHead::Database(_) => None,
        },
        _ => None,
    };
    driver.seen.iter().filter_map(|(_, seen)| target(seen)).collect()
}

fn statuses(driver: &Driver) -> Vec<u16> {
    let status = |seen: &Seen| match seen {
        Seen::Response(head) => match &**head {
            ResponseHead::Http(response) => Some(response.status),
            ResponseHead::Database(_) => None,
        },
        _ => None,
    };
    driver.seen.iter().filter_map(|(_, seen)| status(seen)).collect()
}

proptest! {
    #[test]
    fn as_many_messages_come_out_as_go_in(
        exchanges in vec(exchange(), 1..12),
        request_cuts in vec(any::<(prop::sample::Index, bool)>(), 0..20),
        response_cuts in vec(any::<(prop::sample::Index, bool)>(), 0..20),
        order in vec(any::<bool>(), 0..40),
    ) {
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        for (i, exchange) in exchanges.iter().enumerate() {
            exchange.request_bytes(i, &mut requests);
            exchange.response_bytes(&mut responses);
        }
        let requests = turns(Side::Request, &requests, &request_cuts);
        let responses = turns(Side::Response, &responses, &response_cuts);
        let driver = play(&DEFINITION, &Dialog::default(), &interleaved(requests, responses, &order));

        let expected: Vec<_> = (0..exchanges.len()).map(|i| format!("/{i}")).collect();
        prop_assert_eq!(targets(&driver), expected);
        prop_assert_eq!(statuses(&driver), exchanges.iter().map(|e| e.status).collect::<Vec<_>>());
        prop_assert_eq!(bodies(&driver, Side::Request), exchanges.iter().map(|e| e.request.bytes()).collect::<Vec<_>>());
        let response_body = |e: &Exchange| if e.has_response_body() { e.response.bytes() } else { 0 };
        prop_assert_eq!(bodies(&driver, Side::Response), exchanges.iter().map(response_body).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_borne(
        pieces in vec((any::<bool>(), prop_oneof![vec(any::<u8>(), 0..80), Just(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()), Just(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())], any::<bool>(), prop::option::of(1u64..200)), 0..30),
    ) {
        let mut driver = Driver::new(&DEFINITION, Default::default());
        for (request, bytes, call_end, gap) in pieces {
            let side = if request { Side::Request } else { Side::Response };
            driver.bytes(side, &bytes, call_end);
            gap.into_iter().for_each(|len| driver.gap(side, len));
        }
        driver.close(Side::Request);
        driver.close(Side::Response);
    }
}
