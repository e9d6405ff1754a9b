#include "base/log.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>

#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

namespace starling::log {
namespace {

constexpr std::size_t kQueueLines = 1024;   // Each takes 400 bytes, also while it is empty; the oldest make room, and are counted.
constexpr std::size_t kFieldBytes = 1024;

// Set by the main thread at the end, read by the writing one: relaxed, for a line more or less does no harm.
std::atomic<bool> stopping{false};

// Waits for a pipe that nobody reads, in the writing thread alone, and no longer once the process wants to end.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        std::size_t at = 0;
        while (at < line.size()) {
            pollfd ask{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
            const bool last_chance = stopping.load(std::memory_order_relaxed);
            const int ready = ::poll(&ask, 1, last_chance ? 0 : 100);
            if (ready == 0 && last_chance) { return; }
            if (ready <= 0) { continue; }
            const auto written = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
            if (written < 0 && errno != EINTR && errno != EAGAIN) { return; }   // A full disk: there is nobody to tell.
            if (written > 0) { at += static_cast<std::size_t>(written); }
        }
    }
    void flush_() override {}
};

struct Writer {
    std::shared_ptr<spdlog::details::thread_pool> pool;
    std::shared_ptr<spdlog::async_logger> logger;
};
Writer writer;                         // Set before the shards start and after they ended.

// Read by every shard, set on reload: relaxed, for a line more or less at the change does no harm.
std::atomic<Level> minimum{Level::info};

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
        case Level::debug: return spdlog::level::debug;
        case Level::info: return spdlog::level::info;
        case Level::warning: return spdlog::level::warn;
        case Level::error: return spdlog::level::err;
        case Level::off: break;
    }
    return spdlog::level::off;
}

std::string_view name(Level level) {
    switch (level) {
        case Level::debug: return "debug";
        case Level::info: return "info";
        case Level::warning: return "warning";
        case Level::error: return "error";
        case Level::off: break;
    }
    return "off";
}

// The size of the UTF-8 sequence at the front, 0 where there is none.
std::size_t sequence_size(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    const std::size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size > text.size()) { return 0; }
    for (std::size_t i = 1; i < size; ++i) {
        if ((at(i) & 0xc0) != 0x80) { return 0; }
    }
    if (first == 0xe0 && at(1) < 0xa0) { return 0; }
    if (first == 0xed && at(1) > 0x9f) { return 0; }
    if (first == 0xf0 && at(1) < 0x90) { return 0; }
    if (first == 0xf4 && at(1) > 0x8f) { return 0; }
    return size;
}

void append_escaped(std::string& out, std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    const bool cut = text.size() > kFieldBytes;
    if (cut) { text = text.substr(0, kFieldBytes); }
    while (!text.empty()) {
        const auto first = static_cast<unsigned char>(text[0]);
        const std::size_t size = sequence_size(text);
        if (size == 0) {
            out += "\\ufffd";
            text.remove_prefix(1);
            continue;
        }
        // C1 controls (U+0080 to U+009F) too: some terminals take them for escape sequences.
        const bool c1 = size == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
        if (first == '"' || first == '\\') {
            out += '\\';
            out += text[0];
        } else if (first < 0x20 || first == 0x7f || c1) {
            const auto code = c1 ? static_cast<unsigned char>(text[1]) : first;
            out += "\\u00";
            out += kHex[code >> 4];
            out += kHex[code & 15];
        } else {
            out.append(text.substr(0, size));
        }
        text.remove_prefix(size);
    }
    if (cut) { out += "..."; }
}

}  // namespace

std::optional<Level> parse_level(std::string_view text) {
    for (const Level level : {Level::debug, Level::info, Level::warning, Level::error, Level::off}) {
        if (text == name(level)) { return level; }
    }
    return std::nullopt;
}

std::string format(Level level, std::int64_t wall_ms, std::string_view event, std::initializer_list<Field> fields) {
    const std::time_t seconds = wall_ms / 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    std::string line = fmt::format(R"({{"time":"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z","level":"{}","event":")",
                                   parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                                   parts.tm_sec, wall_ms % 1000, name(level));
    append_escaped(line, event);
    line += '"';
    for (const Field& field : fields) {
        line += ",\"";
        append_escaped(line, field.name);
        line += "\":";
        if (field.is_number) {
            line += std::to_string(field.number);
        } else {
            line += '"';
            append_escaped(line, field.text);
            line += '"';
        }
    }
    line += '}';
    return line;
}

void start(Level level) {
    stopping.store(false, std::memory_order_relaxed);
    set_level(level);
    writer.pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
    writer.logger = std::make_shared<spdlog::async_logger>("starling", std::make_shared<StderrSink>(),
                                                           writer.pool, spdlog::async_overflow_policy::overrun_oldest);
    writer.logger->set_pattern("%v");
    writer.logger->set_level(spdlog::level::trace);
}

void set_level(Level level) { minimum.store(level, std::memory_order_relaxed); }

void stop() {
    stopping.store(true, std::memory_order_relaxed);
    writer.pool.reset();                     // Its thread ends before what it writes through is gone.
    writer.logger.reset();
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
    if (level < minimum.load(std::memory_order_relaxed)) { return; }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto wall_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    std::string line = format(level, wall_ms, event, fields);
    if (writer.logger) {
        writer.logger->log(to_spdlog(level), line);
        return;
    }
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
}

std::uint64_t dropped() { return writer.pool ? writer.pool->overrun_counter() : 0; }

}  // namespace starling::log
