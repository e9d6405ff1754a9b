#pragma once
// RESP2, the protocol of Redis: commands out, replies in. The reading is hiredis' reader, fed with bytes.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starling::codec::resp {

struct Value {
    enum class Kind : std::uint8_t { null, integer, text, status, error, array };
    Kind kind = Kind::null;
    std::int64_t integer = 0;
    std::string text;                        // Of text, status and error ("MOVED 866 host:port").
    std::vector<Value> elements;
};

// One command as an array of bulk strings.
void append_command(std::string& out, const std::vector<std::string>& words);

// Limits of one reply: more is not an answer to anything that is asked here.
inline constexpr std::size_t kReplyBytesMax = 64u << 20;
inline constexpr std::size_t kReplyElementsMax = 1u << 20;   // Of all its arrays together; 7 deep at most.

class Reader {
 public:
    explicit Reader(std::size_t size = kReplyBytesMax);
    ~Reader();
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    void feed(std::string_view bytes);
    // nullopt: the reply is not complete. The error: not RESP, or larger than `size` allows; the
    // link is useless, and every further call says so again.
    std::expected<std::optional<Value>, std::string> next();

 private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace starling::codec::resp
