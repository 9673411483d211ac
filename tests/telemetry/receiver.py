#!/usr/bin/env python3
"""A receiver of OTLP over HTTP, which decodes with OpenTelemetry's own messages.

    receiver.py PORT

What arrives is kept. `GET /received` returns it as JSON, `POST /forget` forgets it, and `POST /behave` with
`{"status": 429, "retry_after": 1, "delay": 0, "reject": 0, "times": 1}` changes the next answers (`times`: how many; all
without it).
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}
lock = threading.Lock()
received: dict[str, list[Any]] = {"spans": [], "logs": [], "metrics": [], "requests": []}
behaviour: dict[str, Any] = {}


def value(any_value: Any) -> Any:
    which = any_value.WhichOneof("value")
    return None if which is None else getattr(any_value, which)


def attributes(pairs: Any) -> dict[str, Any]:
    keys = [pair.key for pair in pairs]
    assert len(keys) == len(set(keys)), f"an attribute occurs twice: {keys}"
    return {pair.key: value(pair.value) for pair in pairs}


def read_spans(body: bytes) -> list[dict[str, Any]]:
    spans = []
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope = {"name": of_scope.scope.name, "version": of_scope.scope.version, "schema": of_scope.schema_url}
            for span in of_scope.spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8, span
                assert span.end_time_unix_nano >= span.start_time_unix_nano > 10**18, span
                spans.append(
                    {
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex() or None,
                        "state": span.trace_state,
                        "name": span.name,
                        "kind": KINDS[span.kind],
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "attributes": attributes(span.attributes),
                        "events": [{"name": event.name, **attributes(event.attributes)} for event in span.events],
                        "links": [{"trace": link.trace_id.hex(), "span": link.span_id.hex()} for link in span.links],
                        "status": {"code": span.status.code, "message": span.status.message},
                        "flags": span.flags,
                        "resource": resource,
                        "scope": scope,
                    }
                )
    return spans


def read_logs(body: bytes) -> list[dict[str, Any]]:
    logs = []
    for of_resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                logs.append(
                    {
                        "event": record.event_name,
                        "body": value(record.body),
                        "time": record.time_unix_nano,
                        "severity": record.severity_text,
                        "number": record.severity_number,
                        "trace": record.trace_id.hex() or None,
                        "span": record.span_id.hex() or None,
                        "attributes": attributes(record.attributes),
                    }
                )
    return logs


def read_metrics(body: bytes) -> list[dict[str, Any]]:
    metrics = []
    for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                assert kind == "gauge" or data.aggregation_temporality == 2, metric
                assert kind != "sum" or data.is_monotonic, metric
                for point in data.data_points:
                    assert point.time_unix_nano >= point.start_time_unix_nano > 10**18, point
                    found = {"name": metric.name, "kind": kind, "unit": metric.unit, "labels": attributes(point.attributes)}
                    if kind == "histogram":
                        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, point
                        assert point.count == sum(point.bucket_counts), point
                        found |= {"count": point.count, "sum": point.sum, "buckets": list(point.bucket_counts), "bounds": list(point.explicit_bounds)}
                    else:
                        found["value"] = point.as_double
                    metrics.append(found)
    return metrics


READERS = {
    "/v1/traces": ("spans", read_spans, ExportTraceServiceResponse),
    "/v1/logs": ("logs", read_logs, ExportLogsServiceResponse),
    "/v1/metrics": ("metrics", read_metrics, ExportMetricsServiceResponse),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with lock:
            body = json.dumps(received).encode()
        self.answer(200, body, Content_Type="application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/forget":
            with lock:
                for kept in received.values():
                    kept.clear()
            return self.answer(204)
        if self.path == "/behave":
            with lock:
                behaviour.clear()
                behaviour.update(json.loads(body))
            return self.answer(204)
        return self.export(body)

    def export(self, body: bytes) -> None:
        with lock:
            now = dict(behaviour)
            if "times" in behaviour:
                behaviour["times"] -= 1
                if behaviour["times"] <= 0:
                    behaviour.clear()
        headers = {name.lower(): text for name, text in self.headers.items()}
        with lock:
            received["requests"].append(
                {"path": self.path, "headers": headers, "bytes": len(body), "at": time.time(), "status": now.get("status", 200)}
            )
        time.sleep(now.get("delay", 0))
        status = now.get("status", 200)
        if status != 200:
            more = {"Retry_After": str(now["retry_after"])} if "retry_after" in now else {}
            return self.answer(status, **more)
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            if headers.get("content-type") != "application/x-protobuf":
                raise ValueError(f"content-type {headers.get('content-type')}")
            signal, read, response = READERS[self.path]
            items = read(body)
        except Exception as error:  # noqa: BLE001: whatever is wrong with it, the test has to learn of it
            with lock:
                received["requests"][-1]["error"] = repr(error)
            return self.answer(400)
        with lock:
            if signal == "metrics":
                received[signal].clear()  # each time has all of them
            received[signal] += items
        answer = response()
        if now.get("reject"):
            if signal == "spans":
                answer.partial_success.rejected_spans = now["reject"]
            elif signal == "logs":
                answer.partial_success.rejected_log_records = now["reject"]
            else:
                answer.partial_success.rejected_data_points = now["reject"]
            answer.partial_success.error_message = "some were too old"
        return self.answer(200, answer.SerializeToString(), Content_Type="application/x-protobuf")


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
