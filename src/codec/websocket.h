#pragma once
// WebSocket frames (RFC 6455 §5): a Reader that turns a peer's bytes into events one by one, and the
// encoders. The Reader takes every byte it is given, so the caller needs no inbox of its own; it
// allocates only while a message is partly there, and an idle connection costs its 48 bytes.
//
//     while (true) {
//         const Event event = reader.next(input, limits, inflator);
//         input = input.subspan(event.consumed);
//         if (event.kind == Event::Kind::none) { break; }   // All taken; buffers released.
//         ...
//     }

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "codec/deflate.h"

namespace starling::codec::websocket {

enum class Opcode : std::uint8_t {
    continuation = 0x0, text = 0x1, binary = 0x2, close = 0x8, ping = 0x9, pong = 0xA,
};

struct ReaderLimits {
    std::size_t message_bytes = 128 * 1024;  // After inflation; one more is 1009.
    std::size_t fragments = 128;             // Frames in one message; one more is 1009.
};

struct Event {
    enum class Kind : std::uint8_t {
        none,    // The input is used up.
        text,    // A whole message, unmasked, inflated and valid UTF-8.
        binary,  // A whole message.
        ping,    // At most 125 bytes: answer with a pong of the same payload.
        pong,
        close,   // The peer's; `code` 1005 if it gave none, `payload` its reason. Nothing follows.
        error,   // Fail the connection with `code` 1002, 1007 or 1009, `payload` says why. Nothing follows.
    };
    Kind kind = Kind::none;
    std::uint16_t code = 0;
    std::size_t consumed = 0;  // Bytes of the input taken, also with `none`.
    // Into the input where the whole frame was there, else into a buffer of the Reader or the Inflator: lives
    // until the next call.
    std::string_view payload;
};

enum class Role : std::uint8_t { server, client };  // A server reads masked frames, a client bare ones.
enum class Compression : std::uint8_t { none, deflate };

class Reader {
 public:
    explicit Reader(Compression compression = Compression::none, Role role = Role::server);
    ~Reader();
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;

    // Unmasks in place, so `input` is changed. `inflator` is the shard's; needed with Compression::deflate.
    Event next(std::span<char> input, const ReaderLimits& limits, Inflator* inflator = nullptr);

    // Between two messages: a new Reader would go on as well as this one.
    bool idle() const { return state_ == State::header && header_size_ == 0 && fragments_ == 0; }
    // No close and no error yet.
    bool open() const { return state_ != State::closed; }
    // Bytes held for a message that is not complete, for accounting.
    std::size_t buffered() const;

 private:
    enum class State : std::uint8_t { header, payload, closed };
    struct Partial;

    enum class Checked : std::uint8_t { no, yes };

    bool take_header(std::span<char>& input);
    Event begin_frame(const ReaderLimits& limits);
    Event take_payload(std::span<char>& input, const ReaderLimits& limits, Inflator* inflator);
    Event finish_message(std::string_view payload, Checked checked, const ReaderLimits& limits,
                         Inflator* inflator);
    Event finish_control(Opcode opcode, std::string_view payload);
    Event fail(Event event);
    Opcode opcode() const { return static_cast<Opcode>(header_[0] & 0x0F); }
    bool final() const { return (header_[0] & 0x80) != 0; }

    std::unique_ptr<Partial> partial_;
    std::uint64_t remaining_ = 0;          // Payload bytes of this frame still to come.
    std::uint8_t header_[14];              // Of the frame at hand; its last four bytes are the mask.
    std::uint8_t header_size_ = 0;         // Bytes of it that are there.
    std::uint8_t mask_[4] = {};            // Turned so that the next payload byte meets the first.
    std::uint32_t fragments_ = 0;          // Frames so far of the message at hand; 0: none is open.
    State state_ = State::header;
    Opcode message_ = Opcode::continuation;  // What the open message is.
    Compression compression_;
    Role role_;
    bool deflated_ = false;                // The open message came with RSV1.
};

inline constexpr std::size_t kHeaderBytesMax = 10;  // Of an unmasked frame.

enum class Rsv1 : std::uint8_t { clear, set };

// Writes an unmasked, final frame's header; returns its size.
std::size_t encode_header(char* out, Opcode opcode, std::size_t payload_size, Rsv1 rsv1 = Rsv1::clear);

// A whole unmasked frame, as a server sends it.
std::string encode_frame(Opcode opcode, std::string_view payload, Rsv1 rsv1 = Rsv1::clear);

// 1005 makes a close frame without a code. A reason too long for a control frame is cut between characters.
std::string encode_close(std::uint16_t code, std::string_view reason = {});

// May stand in a close frame (RFC 6455 §7.4 and the registry of §11.7).
bool valid_close_code(std::uint16_t code);

struct MaskedFrame {
    Opcode opcode = Opcode::text;
    std::string_view payload;
    std::uint32_t mask = 0;  // Drawn by the caller.
    bool final = true;
    Rsv1 rsv1 = Rsv1::clear;
};
// A client's frame, for tools and tests.
std::string encode_masked(const MaskedFrame& frame);

}  // namespace starling::codec::websocket
