// The model against the real server: random calls of every command and random scripts, replies compared.
#include <chrono>

#include <gtest/gtest.h>

#include "base/random.h"
#include "real_redis.h"
#include "redis_model.h"

namespace starling::sim {
namespace {

std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The model's reply as bytes on its connection.
std::string answer(RedisModel& model, RedisConnection connection, const Words& words) {
    std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
    for (const auto& word : words) { bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n"; }
    model.feed(connection, bytes);
    EXPECT_TRUE(model.step(connection, wall_ms()));
    std::string out;
    for (const auto& outgoing : model.take_output()) { out += outgoing.bytes; }
    return out;
}

class Calls {
 public:
    explicit Calls(std::uint64_t seed) : rng_(seed) {}

    std::string pick(std::initializer_list<const char*> list) { return list.begin()[rng_.below(list.size())]; }
    std::string key() { return pick({"a", "b", "c", "{t}:d", "", "st:{x}:long key with spaces"}); }
    std::string field() { return pick({"f", "g", "h", "1", "", "field\r\nwith lines"}); }
    std::string value() {
        return pick({"", "x", "1", "-1", "007", "9223372036854775807", "9223372036854775806", "1.5", "abc", "a\0b",
                     "{\"json\":[1,2]}", "-0", " 1", "a value that is quite long, so that it is longer than sixty-four bytes in all"});
    }
    std::string number() { return pick({"0", "1", "2", "-1", "5", "100", "-3", "9223372036854775807", "1.0", "x", "", "3"}); }
    std::string id() {
        return pick({"1-1", "1-2", "2", "2-0", "3-1", "5-18446744073709551615", "0-0", "0", "7-3", "x", "9", "10-1", "4-4-4", "11", "12-9"});
    }
    std::string bound() { return chance(3) ? pick({"-", "+", "(1-1", "(3", "(0-0", "("}) : id(); }
    bool chance(std::uint64_t one_in) { return rng_.below(one_in) == 0; }

    Words next() {
        Words words = generate();
        if (chance(40) && words.size() > 1) { words.pop_back(); }
        if (chance(60)) { words.push_back(value()); }
        if (chance(10)) { for (auto& c : words[0]) { c = static_cast<char>(std::toupper(c)); } }
        return words;
    }

    // A small script: a few calls, then something of many shapes comes back.
    std::string script() {
        std::string out = "local t = {}\n";
        for (auto count = 1 + rng_.below(4); count > 0; --count) {
            out += "t[#t + 1] = redis." + pick({"call", "pcall", "pcall"}) + "(" + call_words(true) + ")\n";
            if (chance(4)) { out += "if t[#t] then t[#t + 1] = " + expression(1) + " end\n"; }
        }
        out += "for i = 1, #t do if type(t[i]) == 'table' and not t[i].err and not t[i].ok and type(t[i][1]) == 'string' then"
               " table.sort(t[i], function(x, y) return tostring(x) < tostring(y) end) end end\n";
        return out + "return " + (chance(3) ? "t" : chance(2) ? "{t, " + expression(3) + "}" : expression(3));
    }

 private:
    Words generate() {
        switch (rng_.below(44)) {
            case 0: return {"get", key()};
            case 1: return set();
            case 2: return {"setnx", key(), value()};
            case 3: return {pick({"setex", "psetex"}), key(), pick({"10000", "0", "-1", "x", "99999999999999999"}), value()};
            case 4: return {pick({"incr", "decr"}), key()};
            case 5: return {"incrby", key(), number()};
            case 6: return {pick({"del", "unlink"}), key()};
            case 7: return {"del", key(), key(), key()};
            case 8: return {"exists", key(), key()};
            case 9: return {pick({"expire", "pexpire"}), key(), pick({"100000", "0", "-5", "x", "9223372036854775807", "10000000"})};
            case 10: return {pick({"expireat", "pexpireat"}), key(), pick({"99999999999", "1", "0", "x"})};
            case 11: return {"expireat", key(), pick({"99999999999", "99999999998"}), pick({"nx", "XX", "gt", "lt", "zz"})};
            case 12: return {"ttl", key()};
            case 13: return {"persist", key()};
            case 14: return {"type", key()};
            case 15: return {"strlen", key()};
            case 16: return {"mget", key(), key()};
            case 17: return {pick({"hset", "hset", "hmset"}), key(), field(), value()};
            case 18: return {"hset", key(), field(), value(), field(), value(), field(), value()};
            case 19: return {"hsetnx", key(), field(), value()};
            case 20: return {"hget", key(), field()};
            case 21: return {"hmget", key(), field(), field(), field()};
            case 22: return {pick({"hgetall", "hkeys", "hvals"}), key()};
            case 23: return {"hdel", key(), field()};
            case 24: return {"hdel", key(), field(), field(), field()};
            case 25: return {"hincrby", key(), field(), number()};
            case 26: return {"hlen", key()};
            case 27: return {pick({"hexists", "hstrlen"}), key(), field()};
            case 28: return {pick({"hscan", "sscan"}), key(), pick({"0", "0", "0", "x"}), "count", pick({"100", "1000", "0", "y", "-1"})};
            case 29: return {"sadd", key(), value()};
            case 30: return {"sadd", key(), value(), value(), value()};
            case 31: return {"srem", key(), value(), value()};
            case 32: return {pick({"smembers", "scard"}), key()};
            case 33: return {"sismember", key(), value()};
            case 34: return {"xadd", key(), id(), "d", value()};
            case 35: return {"xadd", key(), "maxlen", pick({"3", "0", "x", "-1"}), id(), "d", value()};
            case 36: return {"xadd", key(), pick({"maxlen", "MAXLEN"}), "=", "2", id(), "d", value(), "i", value()};
            case 37: return {"xadd", key(), "nomkstream", id(), "d", value()};
            case 38: return {"xrange", key(), bound(), bound()};
            case 39: return {pick({"xrange", "xrevrange"}), key(), bound(), bound(), "count", number()};
            case 40: return {"xrevrange", key(), pick({"+", "+", "9", "(5"}), pick({"-", "-", "2", "x"})};
            case 41: return {"xlen", key()};
            case 42: return {"xtrim", key(), "maxlen", pick({"1", "2", "0", "x"})};
            default: return {"xdel", key(), id()};
        }
    }

    Words set() {
        Words words{"set", key(), value()};
        while (chance(2) && words.size() < 9) {
            const auto option = pick({"nx", "xx", "get", "keepttl", "ex", "px", "pxat", "bad"});
            words.push_back(option);
            if (option == "ex" || option == "px" || option == "pxat") { words.push_back(pick({"99999999999999", "100000", "0", "x"})); }
        }
        return words;
    }

    std::string quoted(const std::string& text) {
        std::string out = "'";
        for (const char c : text) {
            if (c == '\r') { out += "\\r"; } else if (c == '\n') { out += "\\n"; } else { out += c; }
        }
        return out + "'";
    }

    std::string call_words(bool statement) {
        auto words = generate();
        // What depends on the order of a hash, or on time, does not belong into a script either.
        if (words[0] == "ttl") { words[0] = "type"; }
        const bool sorted = words[0] == "smembers" || words[0] == "hkeys" || words[0] == "hvals" || words[0] == "hgetall";
        if (sorted && !statement) { words = {"type", key()}; }
        if (lower(words[0]).find("scan") != std::string::npos) { words = {"hlen", key()}; }
        if (chance(40)) { words.push_back(value()); }
        std::string out;
        for (const auto& word : words) {
            if (!out.empty()) { out += ", "; }
            const bool digits = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos && word.size() < 15;
            out += digits && word[0] != '0' && chance(2) ? word : quoted(word);
        }
        if (chance(30)) { out += ", " + pick({"nil", "true", "{}", "1.5", "1e15", "2^53", "-0.0"}); }
        return out;
    }

    std::string expression(int depth) {
        if (depth > 0 && chance(2)) {
            switch (rng_.below(7)) {
                case 0: return "{" + expression(depth - 1) + ", " + expression(depth - 1) + "}";
                case 1: return "{" + expression(depth - 1) + ", nil, " + expression(depth - 1) + "}";
                case 2: return "redis.call(" + call_words(false) + ")";
                case 3: return "redis.pcall(" + call_words(false) + ")";
                case 4: return "redis.error_reply(" + pick({"'NOLEASE'", "'FENCED by another'", "'-ERR x'", "'My Err\\nline'", "'-CODE'", "1"}) + ")";
                case 5: return "redis.status_reply(" + pick({"'FINE'", "'two words'", "''"}) + ")";
                default: return "{" + pick({"err", "ok"}) + " = " + pick({"'E one'", "'x'", "'NOLEASE'", "5"}) + "}";
            }
        }
        return pick({"1", "3.99", "-3.99", "true", "false", "nil", "'text'", "KEYS[1]", "ARGV[1]", "ARGV[2]", "#ARGV", "#KEYS",
                     "tonumber(ARGV[1])", "2^52", "string.format('%.0f', 2^52 + 1)", "tostring(2^52)", "1e15 % 7", "{}",
                     "string.rep('a', 5)", "table.concat({1, 2, 'x'}, ',')", "1 / 0 > 1", "(ARGV[1] or '') .. 'x'",
                     "KEYS[1] + 1", "t.x.y", "error('broken')", "error({err = 'MINE told'})", "unknown_name", "string.byte('A')",
                     "redis.sha1hex('')", "select('#', unpack(ARGV))", "math.floor(2.7)", "redis.call()", "redis.call('nothing')",
                     "redis.call('subscribe', 'x')", "redis.call('publish', 'nobody', 'x')", "type(redis.call('get', 'zz'))"});
    }

    Rng rng_;
};

class Differential : public testing::TestWithParam<int> {
 protected:
    void SetUp() override {
        real_ = RealRedis::start();
        if (!real_) { GTEST_SKIP() << "no redis-server here"; }
    }
    // False at the first difference.
    bool same(const Words& words) {
        const auto name = lower(words[0]);
        std::string expected, got;
        // Two clocks: the real server and the model round their remaining seconds at different milliseconds.
        if (name == "ttl" && words.size() == 2) {
            const auto real = real_->call(words);
            const auto bytes = answer(model_, connection_, words);
            std::string_view rest = bytes;
            const auto reply = parse_reply(rest);
            EXPECT_EQ(reply.kind, real.kind) << show(words);
            if (real.kind == Reply::Kind::integer && real.integer > 0) {
                EXPECT_NEAR(static_cast<double>(reply.integer), static_cast<double>(real.integer), 1) << show(words);
            } else {
                EXPECT_EQ(reply.integer, real.integer) << show(words);
                EXPECT_EQ(reply.text, real.text) << show(words);
            }
            return !HasFailure();
        }
        append_reply(expected, canonical(name, real_->call(words)));
        const auto bytes = answer(model_, connection_, words);
        for (std::string_view rest = bytes; !rest.empty();) { append_reply(got, canonical(name, parse_reply(rest))); }
        EXPECT_EQ(got, expected) << show(words);
        return !HasFailure();
    }

    ScriptHost host_;
    RedisModel model_{{}, std::string(40, 'a'), host_};
    RedisConnection connection_ = model_.open();
    std::unique_ptr<RealRedis> real_;
};

TEST_P(Differential, RandomCallsAreAnsweredAlike) {
    Calls calls(static_cast<std::uint64_t>(GetParam()));
    for (int i = 0; i < 10000; ++i) {
        if (!same(calls.next())) { break; }
        if (i % 500 == 499 && !same({"flushall"})) { break; }
    }
}

TEST_P(Differential, RandomScriptsAreAnsweredAlike) {
    Calls calls(static_cast<std::uint64_t>(GetParam()) + 1000);
    for (int i = 0; i < 2000; ++i) {
        const auto script = calls.script();
        if (!same({"eval", script, "1", calls.key(), calls.value(), calls.number()})) { break; }
        if (calls.chance(3) && !same({"evalsha", sha1_hex(script), calls.pick({"0", "1", "2", "x", "-1", "9"}), calls.key(), calls.value()})) { break; }
        if (i % 300 == 299 && !same({"flushall"})) { break; }
        for (int k = 0; k < 3; ++k) { if (!same(calls.next())) { return; } }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Differential, testing::Range(1, 4));

TEST_F(Differential, AServerTalksAlike) {
    for (const Words& words : std::vector<Words>{
             {"ping"}, {"ping", "x"}, {"ping", "x", "y"}, {"echo", "x"}, {"select", "0"}, {"select", "16"}, {"select", "x"},
             {"auth", "x"}, {"auth", "nobody", "x"}, {"auth", "a", "b", "c"}, {"nothing", "a", "b"}, {"wait", "0", "0"}, {"wait", "1", "10"},
             {"config", "get", "maxmemory-policy"}, {"config", "get", "maxmemory"}, {"config", "get", "none"}, {"client", "setname", "x"},
             {"client", "getname"}, {"client", "nothing"}, {"script", "load", "return 1"}, {"script", "load", "return +"},
             {"script", "exists", sha1_hex("return 1"), "zz"}, {"evalsha", sha1_hex("return 1"), "0"}, {"evalsha", "zz", "0"},
             {"eval", "return redis.call('set', 'k')", "0"}, {"eval", "x = 1", "0"}, {"eval", "return {1, {ok = 'x'}, 'a'}", "0"},
             {"role"}, {"dbsize"}, {"publish", "a", "b"}, {"spublish", "a", "b"}, {"publish", "a"}, {"script", "flush"},
             {"sunsubscribe"}, {"sunsubscribe", "a"}, {"subscribe", "a"}, {"psubscribe", "p*"}, {"ssubscribe", "s"}, {"ping"}, {"get", "a"},
             {"unsubscribe", "zz"}, {"punsubscribe", "p*"}, {"sunsubscribe", "s"}, {"unsubscribe", "a"}, {"ping"}, {"flushall"}}) {
        same(words);
    }
}

}  // namespace
}  // namespace starling::sim
