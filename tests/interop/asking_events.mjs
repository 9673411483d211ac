// The events of one session, for a reader that comes back with Last-Event-ID; the same for both SDKs.

export function eventStore() {
  const events = [];
  return {
    storeEvent: async (stream, message) => {
      events.push({ stream, message });
      return String(events.length);
    },
    getStreamIdForEventId: async (id) => events[Number(id) - 1]?.stream,
    replayEventsAfter: async (last, { send }) => {
      const from = Number(last);
      const stream = events[from - 1]?.stream;
      for (const [index, event] of events.entries()) {
        const priming = Object.keys(event.message).length === 0;
        if (index >= from && event.stream === stream && !priming) await send(String(index + 1), event.message);
      }
      return stream;
    },
  };
}
