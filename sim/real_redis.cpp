#include "real_redis.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <csignal>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace starling::sim {

std::unique_ptr<RealRedis> RealRedis::start() {
    char folder[] = "/tmp/starling-redis-XXXXXX";
    CHECK(mkdtemp(folder) != nullptr);
    std::unique_ptr<RealRedis> redis(new RealRedis);
    redis->folder_ = folder;
    const std::string path = redis->folder_ + "/socket";
    redis->process_ = fork();
    if (redis->process_ == 0) {
        const int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path.c_str(), "--save", "", "--appendonly", "no",
               "--dir", folder, static_cast<char*>(nullptr));
        _exit(127);
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    for (int tries = 0; tries < 500; ++tries) {
        int status = 0;
        if (waitpid(redis->process_, &status, WNOHANG) == redis->process_) {
            redis->process_ = -1;
            return nullptr;
        }
        redis->socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(redis->socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) { return redis; }
        close(std::exchange(redis->socket_, -1));
        usleep(10000);
    }
    return nullptr;
}

RealRedis::~RealRedis() {
    if (socket_ >= 0) { close(socket_); }
    if (process_ > 0) {
        kill(process_, SIGKILL);
        waitpid(process_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

namespace {

std::optional<Reply> try_parse(std::string_view& bytes) {
    const auto end = bytes.find("\r\n");
    if (end == std::string_view::npos) { return std::nullopt; }
    const char mark = bytes[0];
    const std::string line(bytes.substr(1, end - 1));
    auto rest = bytes.substr(end + 2);
    Reply out;
    switch (mark) {
        case ':': out = Reply::number(std::stoll(line)); break;
        case '+': out = Reply::status(line); break;
        case '-': out = Reply::error(line); break;
        case '$': {
            if (line == "-1") { break; }
            const auto size = std::stoul(line);
            if (rest.size() < size + 2) { return std::nullopt; }
            out = Reply::bulk(std::string(rest.substr(0, size)));
            rest.remove_prefix(size + 2);
            break;
        }
        default:
            CHECK(mark == '*');
            out.kind = Reply::Kind::nil_array;
            if (line == "-1") { break; }
            out = Reply::array();
            for (auto left = std::stoul(line); left > 0; --left) {
                auto element = try_parse(rest);
                if (!element) { return std::nullopt; }
                out.elements.push_back(std::move(*element));
            }
    }
    bytes = rest;
    return out;
}

}  // namespace

Reply parse_reply(std::string_view& bytes) {
    auto reply = try_parse(bytes);
    CHECK(reply);
    return std::move(*reply);
}

Reply RealRedis::call(const Words& words) {
    std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
    for (const auto& word : words) { bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n"; }
    for (std::size_t sent = 0; sent < bytes.size();) {
        const auto count = write(socket_, bytes.data() + sent, bytes.size() - sent);
        CHECK(count > 0);
        sent += static_cast<std::size_t>(count);
    }
    for (;;) {
        std::string_view rest = buffer_;
        if (auto reply = buffer_.empty() ? std::nullopt : try_parse(rest)) {
            buffer_.erase(0, buffer_.size() - rest.size());
            return std::move(*reply);
        }
        char chunk[65536];
        const auto count = read(socket_, chunk, sizeof chunk);
        CHECK(count > 0);
        buffer_.append(chunk, static_cast<std::size_t>(count));
    }
}

Reply canonical(std::string_view command, Reply reply) {
    const auto by_text = [](const Reply& a, const Reply& b) { return a.text < b.text; };
    const auto sort_pairs = [](std::vector<Reply>& elements) {
        std::vector<std::pair<std::string, Reply>> pairs;
        for (std::size_t i = 0; i + 1 < elements.size(); i += 2) { pairs.emplace_back(elements[i].text, elements[i + 1]); }
        std::ranges::sort(pairs, {}, [](const auto& pair) { return pair.first; });
        elements.clear();
        for (auto& [name, value] : pairs) {
            elements.push_back(Reply::bulk(name));
            elements.push_back(std::move(value));
        }
    };
    if (reply.kind != Reply::Kind::array) { return reply; }
    if (command == "smembers" || command == "hkeys" || command == "hvals") { std::ranges::sort(reply.elements, by_text); }
    if (command == "hgetall") { sort_pairs(reply.elements); }
    if (command == "hscan") { sort_pairs(reply.elements[1].elements); }
    if (command == "sscan") { std::ranges::sort(reply.elements[1].elements, by_text); }
    return reply;
}

std::string show(const Words& words) {
    std::string out;
    for (const auto& word : words) { out += "'" + word + "' "; }
    return out;
}

std::string show(const Reply& reply) {
    std::string out;
    append_reply(out, reply);
    for (std::size_t at = 0; (at = out.find("\r\n", at)) != std::string::npos;) { out.replace(at, 2, " "); }
    return out;
}

}  // namespace starling::sim
