"""Debian's redis-py on a database, as an application uses it. REDIS_URL=… python3 redis-py-client.py; prints "all well"."""

import os

import redis

client = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
client.delete("py:n", "py:list", "py:hash", "py:stream")
with client.pipeline(transaction=False) as pipeline:
    for _ in range(100):
        pipeline.incr("py:n")
    assert pipeline.execute()[-1] == 100
with client.pipeline() as transaction:
    assert transaction.set("py:s", "v").get("py:s").execute() == [True, "v"]
client.hset("py:hash", mapping={"a": "1", "b": "2"})
assert client.hgetall("py:hash") == {"a": "1", "b": "2"}
client.rpush("py:list", "x", "y")
assert client.blpop("py:list", timeout=1) == ("py:list", "x")
entry = client.xadd("py:stream", {"f": "v"})
assert client.xrange("py:stream") == [(entry, {"f": "v"})]
subscriber = client.pubsub()
subscriber.subscribe("python")
assert subscriber.get_message(timeout=10)["type"] == "subscribe"
client.publish("python", "hello")
assert subscriber.get_message(timeout=10)["data"] == "hello"
assert client.register_script("return {KEYS[1], ARGV[1]}")(keys=["k"], args=["a"]) == ["k", "a"]
with client.lock("py:lock", timeout=10, blocking_timeout=1) as lock:
    assert lock.owned()
value = os.urandom(2_000_000)
raw = redis.Redis.from_url(os.environ["REDIS_URL"])
raw.set("py:big", value)
assert raw.get("py:big") == value
try:
    client.lpush("py:hash", "x")
    raise AssertionError("a list command on a hash")
except redis.ResponseError as error:
    assert str(error).startswith("WRONGTYPE"), error
print("all well")
