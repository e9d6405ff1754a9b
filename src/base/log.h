#pragma once
// One line of JSON on stderr for each thing worth telling. Writing is done by another thread, and
// when it cannot keep up the oldest lines are dropped, so that a slow terminal never stops a shard.
// Everything that came from a peer goes into a field, where it is escaped and cut.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace starling::log {

enum class Level : std::uint8_t { debug, info, warning, error, off };
std::optional<Level> parse_level(std::string_view text);

// A named value, borrowed for the call. A string is escaped, and cut after 1,024 bytes.
struct Field {
    Field(std::string_view field, std::string_view value) : name(field), text(value) {}
    Field(std::string_view field, const char* value) : name(field), text(value) {}
    Field(std::string_view field, const std::string& value) : name(field), text(value) {}
    template <typename Number>
        requires std::is_integral_v<Number>
    Field(std::string_view field, Number value)
        : name(field), number(static_cast<std::int64_t>(value)), is_number(true) {}

    std::string_view name;
    std::string_view text;
    std::int64_t number = 0;
    bool is_number = false;
};

// Until start() and after stop() lines are written at once, by the caller.
void start(Level level);
void set_level(Level level);
void stop();                           // Writes what is queued, as far as stderr takes it at once.

// `event` says what happened in a few fixed words, so that lines can be counted by it.
void write(Level level, std::string_view event, std::initializer_list<Field> fields = {});
inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::debug, event, fields); }
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::info, event, fields); }
inline void warning(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::warning, event, fields); }
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::error, event, fields); }

// Lines that were dropped because the writer could not keep up.
std::uint64_t dropped();

// The line without its newline, at a given time: what write() writes.
std::string format(Level level, std::int64_t wall_ms, std::string_view event, std::initializer_list<Field> fields);

}  // namespace starling::log
