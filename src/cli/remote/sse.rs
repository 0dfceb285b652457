//! Server-sent events, as far as a client of this service needs them.

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerEvent {
    /// Its id, where it has one.
    pub(super) id: Option<String>,
    /// Its data.
    pub(super) data: String,
}

/// Puts events together from whatever pieces arrive.
#[derive(Debug, Default)]
pub(super) struct EventParser {
    /// The beginning of a line that has not ended.
    rest: Vec<u8>,
    id: Option<String>,
    data: Vec<String>,
}

impl EventParser {
    /// Takes the next bytes; returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<ServerEvent> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\n', '\r'])));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            let (id, data) = (self.id.take(), std::mem::take(&mut self.data));
            return (!data.is_empty()).then(|| ServerEvent { id, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            // Comments keep the connection alive; the event's name stands in its data too.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_any_pieces() {
        let stream =
            ":\n\nid: 7\nevent: step\ndata: {\"a\":1}\n\n: ping\r\n\r\ndata:x\ndata: y\r\n\r\nid: 8\ndata: half";
        let event = |id: Option<&str>, data: &str| ServerEvent { id: id.map(str::to_owned), data: data.to_owned() };
        let expected = [event(Some("7"), "{\"a\":1}"), event(None, "x\ny")];
        for size in 1..=stream.len() {
            let mut parser = EventParser::default();
            let events: Vec<_> = stream.as_bytes().chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }
}
