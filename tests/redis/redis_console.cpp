// The way to Redis on real sockets, for a test to play with. It obeys lines from standard input:
//   call N PARTITION TEXT     a script that appends TEXT to a list, announces it, and answers the list's length
//   subscribe PARTITION NAME  a channel of the partition
// and prints what it is told, a line each: up, down, subscribed, missed, pushed, answer, found. Ends with its input.

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <sstream>
#include <thread>

#include "net/mailbox.h"
#include "server/redis_driver.h"
#include "server/redis_url.h"

using namespace starling;

namespace {

constexpr std::uint32_t kPartitions = 8;

Now read_clock() { return {Instant(std::chrono::steady_clock::now().time_since_epoch()), 0}; }

class Console : public engine::Engine {
 public:
    explicit Console(engine::RedisSettings settings)
        : tags_(engine::make_tags(kPartitions)), redis_(std::move(settings), tags_, all(), "st:probe:console", 1) {}

    void start(Now now, engine::Output& out) override { redis_.start(now, out.actions); }
    void on_call(domain::EngineCall&, Now, engine::Output&) override {}
    void on_connected(engine::LinkId link, Now now, engine::Output& out) override { redis_.on_connected(link, now, out.actions); }
    void on_bytes(engine::LinkId link, std::string_view bytes, Now now, engine::Output& out) override {
        redis_.on_bytes(link, bytes, now, out.actions);
    }
    void on_closed(engine::LinkId link, std::string_view reason, Now now, engine::Output& out) override {
        redis_.on_closed(link, reason, now, out.actions);
    }
    std::optional<Instant> next_deadline() const override { return redis_.next_deadline(); }
    void on_deadline(Now now, engine::Output& out) override { redis_.on_deadline(now, out.actions); }
    bool idle() const override { return true; }

    void obey(const std::string& line, Now now, engine::Output& out) {
        std::istringstream words(line);
        std::string verb, text;
        engine::Token token = 0;
        std::uint32_t partition = 0;
        words >> verb;
        if (verb == "call") { words >> token; }
        words >> partition >> text;
        partition %= kPartitions;
        const std::string base = "st:{" + tags_[partition] + "}:";
        if (verb == "subscribe") {
            redis_.subscribe(partition, SharedBytes(base + text), now, out.actions);
        } else if (verb == "call") {
            const std::string publish = redis_.sharded() ? "SPUBLISH" : "PUBLISH";
            redis_.eval(token, partition, script_, {base + "list"}, {text, publish, base + "c"}, now, out.actions);
        }
    }
    void print() {
        for (engine::RedisEvent& event : redis_.take_events()) {
            std::visit([&](auto& one) { print(one); }, event);
        }
        std::fflush(stdout);
    }

 private:
    static std::vector<std::uint32_t> all() {
        std::vector<std::uint32_t> list(kPartitions);
        for (std::uint32_t i = 0; i < kPartitions; ++i) { list[i] = i; }
        return list;
    }
    // What stands behind "st:{tag}:", for tags are nobody's business here.
    std::string name(const std::string& channel) const {
        const auto end = channel.find("}:");
        for (std::uint32_t i = 0; i < kPartitions; ++i) {
            if (channel.starts_with("st:{" + tags_[i] + "}:")) { return std::to_string(i) + ' ' + channel.substr(end + 2); }
        }
        return channel;
    }
    void print(const engine::Answered& answer) {
        const auto* failed = std::get_if<engine::CallFailed>(&answer.result);
        const auto* value = std::get_if<codec::resp::Value>(&answer.result);
        std::printf("answer %llu %s\n", static_cast<unsigned long long>(answer.token),
                    failed != nullptr ? ((failed->unknown ? "unknown " : "failed ") + failed->reason).c_str()
                    : value->kind == codec::resp::Value::Kind::error ? ("error " + value->text).c_str()
                                                                    : std::to_string(value->integer).c_str());
    }
    void print(const engine::Subscribed& one) { std::printf("subscribed %s\n", name(one.channel).c_str()); }
    void print(const engine::Missed& one) { std::printf("missed %s\n", name(one.channel).c_str()); }
    void print(const engine::Pushed& one) { std::printf("pushed %s %s\n", name(one.channel).c_str(), one.payload.c_str()); }
    void print(const engine::PartitionUp& one) { std::printf("up %u %s\n", one.partition, one.server.c_str()); }
    void print(const engine::PartitionDown& one) { std::printf("down %u\n", one.partition); }
    void print(const engine::Finding& one) { std::printf("found %s%s\n", one.fatal ? "fatal " : "", one.text.c_str()); }

    std::vector<std::string> tags_;
    engine::Redis redis_;
    engine::Script script_ = engine::make_script("append",
        "local n = redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call(ARGV[2], ARGV[3], ARGV[1]) return n");
};

}  // namespace

int main(int count, char** words) {
    if (count < 2) {
        std::fprintf(stderr, "usage: redis_console URL [AUTHORITIES]\n");
        return 2;
    }
    auto settings = server::parse_redis_url(words[1]);
    if (!settings) {
        std::fprintf(stderr, "%s\n", settings.error().c_str());
        return 2;
    }
    std::shared_ptr<net::TlsContext> tls;
    if (settings->tls) {
        auto context = net::TlsContext::client(count > 2 ? words[2] : "");
        if (!context) {
            std::fprintf(stderr, "%s\n", context.error().c_str());
            return 2;
        }
        tls = *context;
    }
    net::Transport transport;
    Console console(std::move(*settings));
    server::RedisDriver driver(transport, console, tls);
    net::Mailbox<std::string> lines;         // An empty one: the input has ended.
    transport.watch(lines.event());
    std::thread([&lines] {
        std::string line;
        for (int letter = std::getchar(); letter != EOF; letter = std::getchar()) {
            if (letter != '\n') {
                line += static_cast<char>(letter);
            } else if (!line.empty()) {
                lines.send(std::exchange(line, {}));
            }
        }
        lines.send({});
    }).detach();

    engine::Output output;
    console.start(read_clock(), output);
    driver.perform(output);
    while (true) {
        std::vector<net::Event> events;
        const Instant next = console.next_deadline().value_or(read_clock().instant + 1s);
        transport.wait(next - read_clock().instant, events);
        const Now now = read_clock();
        domain::EngineEvents unused;
        for (const net::Event& event : events) { driver.on_event(event, now, unused); }
        std::vector<std::string> asked;
        lines.drain(asked);
        for (const std::string& line : asked) {
            if (line.empty()) { _exit(0); }  // The thread may still stand in its read.
            console.obey(line, now, output);
        }
        if (console.next_deadline() && *console.next_deadline() <= now.instant) { console.on_deadline(now, output); }
        driver.perform(output);
        console.print();
        transport.flush();
    }
}
