"""The other side of `grpc`, in another language and on another implementation of HTTP/2 (grpcio).

foreign.py client PROTO-FOLDER ADDRESS [CA]  calls the server there in every way; fails if an answer is wrong
foreign.py server PROTO-FOLDER               serves the same, says where, until its stdin ends
"""

import sys
from concurrent import futures

import grpc

MESSAGES = 10_000
STREAMS = 100

sys.path.insert(0, sys.argv[2])
messages, services = grpc.protos_and_services("numbers.proto")
Number, CountRequest, Total = messages.Number, messages.CountRequest, messages.Total


def fails(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    sys.exit(f"not {code} but an answer")


def each_kind(stub):
    number, call = stub.Square.with_call(Number(value=9), metadata=(("caller-name", "python"),))
    assert number.value == 81
    assert dict(call.initial_metadata())["caller-name"] == "python"
    assert [number.value for number in stub.Count(CountRequest(to=5))] == [1, 2, 3, 4, 5]
    assert stub.Sum(Number(value=value) for value in range(101)) == Total(count=101, sum=5050)
    assert [total.sum for total in stub.Totals(Number(value=value) for value in (1, 2, 3))] == [1, 3, 6]


def failures(stub):
    code = grpc.StatusCode
    error = fails(code.OUT_OF_RANGE, lambda: stub.Square(Number(value=1 << 32)))
    assert error.details() == "the square of 4294967296 does not fit into 64 bits", error
    fails(code.OUT_OF_RANGE, lambda: stub.Square(Number(value=1, padding=bytes(1 << 20))))
    slow = CountRequest(to=0, pause_ms=10)
    fails(code.DEADLINE_EXCEEDED, lambda: list(stub.Count(slow, timeout=0.2)))
    counted = stub.Count(slow)
    assert next(counted).value == 1
    counted.cancel()
    fails(code.CANCELLED, lambda: list(counted))
    assert stub.Square(Number(value=3)).value == 9


def many_messages(stub):
    padding = bytes(1024)
    numbers = (Number(value=value, padding=padding) for value in range(1, MESSAGES + 1))
    for count, total in enumerate(stub.Totals(numbers), 1):
        assert (total.count, total.sum) == (count, count * (count + 1) // 2)
    assert count == MESSAGES
    counted = stub.Count(CountRequest(to=MESSAGES, padding=1024))
    for value, number in enumerate(counted, 1):
        assert number.value == value and number.padding == padding
        if value % 100 == 0:
            # A round trip on the same connection, while the stream waits for its reader.
            stub.Square(Number(value=value))
    assert value == MESSAGES


def many_streams(stub):
    def dialogue(_):
        return [total.count for total in stub.Totals(Number(value=1) for _ in range(100))]

    with futures.ThreadPoolExecutor(STREAMS) as pool:
        for counts in pool.map(dialogue, range(STREAMS)):
            assert counts == list(range(1, 101))


def health(channel):
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"") == b"\x08\x01", "serving"


def call(address, ca):
    if ca:
        with open(ca, "rb") as file:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
    else:
        channel = grpc.insecure_channel(address)
    with channel:
        stub = services.NumbersStub(channel)
        each_kind(stub)
        failures(stub)
        many_messages(stub)
        many_streams(stub)
        health(channel)
    print("all answers are right")


class Numbers(services.NumbersServicer):
    def Square(self, request, context):
        if request.value >= 1 << 32:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "it does not fit")
        return Number(value=request.value**2)

    def Count(self, request, context):
        value = 0
        while context.is_active() and (request.to == 0 or value < request.to):
            value += 1
            yield Number(value=value)

    def Sum(self, numbers, context):
        values = [number.value for number in numbers]
        return Total(count=len(values), sum=sum(values))

    def Totals(self, numbers, context):
        total = Total()
        for number in numbers:
            total.count += 1
            total.sum += number.value
            yield total


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    services.add_NumbersServicer_to_server(Numbers(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0).wait()


if sys.argv[1] == "client":
    call(sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None)
else:
    serve()
