#include "codec/websocket.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "codec/error.h"
#include "codec/utf8.h"

namespace starling::codec::websocket {
namespace {

constexpr std::size_t kControlBytesMax = 125;  // RFC 6455 §5.5.
constexpr std::uint16_t kProtocolError = 1002;
constexpr std::uint16_t kInvalidPayload = 1007;

bool is_control(Opcode opcode) { return (static_cast<std::uint8_t>(opcode) & 0x8) != 0; }

bool is_known(Opcode opcode) {
    const auto value = static_cast<std::uint8_t>(opcode);
    return value <= 0x2 || (value >= 0x8 && value <= 0xA);
}

Event error(std::uint16_t code, std::string_view why) {
    return {.kind = Event::Kind::error, .code = code, .payload = why};
}

// The whole header's size, once its first two bytes are there.
std::size_t full_header_size(const std::uint8_t* header) {
    const std::uint8_t length = header[1] & 0x7F;
    const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    return 2 + extended + ((header[1] & 0x80) != 0 ? 4 : 0);
}

std::uint64_t big_endian(const std::uint8_t* bytes, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t index = 0; index < size; ++index) { value = value << 8 | bytes[index]; }
    return value;
}

void put_big_endian(char* out, std::uint64_t value, std::size_t size) {
    for (std::size_t index = size; index-- > 0; value >>= 8) { out[index] = static_cast<char>(value); }
}

// Exclusive-ors eight bytes at a time and leaves the mask turned to the next byte.
void unmask(std::span<char> bytes, std::uint8_t (&mask)[4]) {
    std::uint32_t word;
    std::memcpy(&word, mask, 4);
    const std::uint64_t pattern = std::uint64_t{word} << 32 | word;
    char* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8) {
        std::uint64_t block;
        std::memcpy(&block, at, 8);
        block ^= pattern;
        std::memcpy(at, &block, 8);
    }
    for (std::size_t index = 0; index < left; ++index) {
        at[index] = static_cast<char>(static_cast<std::uint8_t>(at[index]) ^ mask[index % 4]);
    }
    const std::uint8_t turned[4] = {mask[left % 4], mask[(left + 1) % 4], mask[(left + 2) % 4], mask[(left + 3) % 4]};
    std::memcpy(mask, turned, 4);
}

// Bytes that do not compress grow a little; the message behind them may still be within its limit.
std::uint64_t compressed_bytes_max(std::size_t message_bytes) {
    return std::uint64_t{message_bytes} + message_bytes / 1024 + 64;
}

}  // namespace

struct Reader::Partial {
    std::string message;  // Payload of the open message, unmasked, still compressed.
    std::string control;  // Of a control frame that came in pieces.
    Utf8Stream text;
};

Reader::Reader(Compression compression, Role role) : compression_(compression), role_(role) {}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

std::size_t Reader::buffered() const {
    return partial_ == nullptr ? 0
                               : sizeof(Partial) + partial_->message.capacity() + partial_->control.capacity();
}

Event Reader::next(std::span<char> input, const ReaderLimits& limits, Inflator* inflator) {
    // What the last event lent out is not needed any more.
    if (header_size_ == 0 && fragments_ == 0 && partial_ != nullptr) { partial_.reset(); }
    const std::size_t total = input.size();
    while (state_ != State::closed) {
        if (state_ == State::header) {
            if (!take_header(input)) { break; }
            if (Event event = begin_frame(limits); event.kind == Event::Kind::error) {
                event = fail(event);
                event.consumed = total;
                return event;
            }
            state_ = State::payload;
        }
        Event event = take_payload(input, limits, inflator);
        if (event.kind != Event::Kind::none) {
            // RFC 6455 §7.1.7, §5.5.1: nothing that follows is looked at.
            event.consumed = open() ? total - input.size() : total;
            return event;
        }
        if (state_ == State::payload) { break; }
    }
    return {.consumed = total};
}

// Moves header bytes over; true when the header is whole.
bool Reader::take_header(std::span<char>& input) {
    while (true) {
        const std::size_t size = header_size_ < 2 ? 2 : full_header_size(header_);
        if (header_size_ >= 2 && header_size_ == size) { return true; }
        const std::size_t taken = std::min(size - header_size_, input.size());
        if (taken == 0) { return false; }
        std::memcpy(header_ + header_size_, input.data(), taken);
        header_size_ = static_cast<std::uint8_t>(header_size_ + taken);
        input = input.subspan(taken);
    }
}

// Refuses a whole header or makes ready for its payload.
Event Reader::begin_frame(const ReaderLimits& limits) {
    const bool control = is_control(opcode());
    const bool rsv1 = (header_[0] & 0x40) != 0;
    const bool masked = (header_[1] & 0x80) != 0;
    const std::uint8_t length = header_[1] & 0x7F;
    if ((header_[0] & 0x30) != 0) { return error(kProtocolError, "reserved bits are set"); }
    if (!is_known(opcode())) { return error(kProtocolError, "unknown opcode"); }
    // RFC 7692 §6: on the first frame of a message, where it was agreed on.
    if (rsv1 && (compression_ == Compression::none || control || opcode() == Opcode::continuation)) {
        return error(kProtocolError, "reserved bits are set");
    }
    if (masked != (role_ == Role::server)) {
        return error(kProtocolError, masked ? "a server's frame is masked" : "a client's frame is not masked");
    }
    if (control && !final()) { return error(kProtocolError, "a control frame is fragmented"); }
    if (control && length > kControlBytesMax) { return error(kProtocolError, "a control frame is too long"); }

    remaining_ = length;
    if (length == 126) { remaining_ = big_endian(header_ + 2, 2); }
    if (length == 127) { remaining_ = big_endian(header_ + 2, 8); }
    // RFC 6455 §5.2: the shortest form is used.
    if ((length == 126 && remaining_ < 126) || (length == 127 && remaining_ < 65536)) {
        return error(kProtocolError, "a frame's length is not written in its shortest form");
    }
    if (masked) { std::memcpy(mask_, header_ + header_size_ - 4, 4); }
    if (control) {
        if (partial_ != nullptr) { partial_->control.clear(); }
        return {};
    }

    if ((opcode() == Opcode::continuation) != (fragments_ > 0)) {
        return error(kProtocolError, fragments_ > 0 ? "a message begins within another"
                                                    : "a continuation has no beginning");
    }
    if (fragments_ == 0) {
        message_ = opcode();
        deflated_ = rsv1;
    }
    // Empty fragments count as well, else a peer could send them for ever.
    if (fragments_ >= limits.fragments) { return error(close_code::too_large, "a message has too many fragments"); }
    ++fragments_;
    // Refused by its announcement: nothing is allocated for it.
    const std::uint64_t most = deflated_ ? compressed_bytes_max(limits.message_bytes) : limits.message_bytes;
    const std::uint64_t held = partial_ == nullptr ? 0 : partial_->message.size();
    if (remaining_ > most - std::min(held, most)) { return error(close_code::too_large, "a message is too large"); }
    return {};
}

// Takes what is there of the frame's payload. No event: either more must come (state payload), or a
// fragment ended (state header).
Event Reader::take_payload(std::span<char>& input, const ReaderLimits& limits, Inflator* inflator) {
    const std::span<char> chunk = input.first(std::min<std::uint64_t>(remaining_, input.size()));
    if (chunk.empty() && remaining_ > 0) { return {}; }
    input = input.subspan(chunk.size());
    remaining_ -= chunk.size();
    if (role_ == Role::server) { unmask(chunk, mask_); }
    const std::string_view bytes(chunk.data(), chunk.size());
    const bool control = is_control(opcode());

    // The common case: all of it is here, and stays where it is.
    std::string* held = partial_ == nullptr ? nullptr : control ? &partial_->control : &partial_->message;
    const bool in_place = remaining_ == 0 && (held == nullptr || held->empty()) &&
                          (control || (final() && fragments_ == 1));
    if (!in_place) {
        if (partial_ == nullptr) { partial_ = std::make_unique<Partial>(); }
        held = control ? &partial_->control : &partial_->message;
        // Room grows with what came, never by what was announced.
        if (const std::size_t size = held->size() + bytes.size(); size > held->capacity()) {
            held->reserve(std::max(size, std::min<std::uint64_t>(size + remaining_, 2 * held->capacity())));
        }
        held->append(bytes);
        // RFC 6455 §8.1, and the sooner the better: not at the message's end, at the first bad byte.
        if (!control && message_ == Opcode::text && !deflated_ && !partial_->text.feed(bytes)) {
            return fail(error(kInvalidPayload, "text is not UTF-8"));
        }
        if (remaining_ > 0) { return {}; }
    }
    state_ = State::header;
    const Opcode ended = opcode();
    const bool last = final();
    header_size_ = 0;
    const std::string_view payload = in_place ? bytes : std::string_view(*held);
    if (control) { return finish_control(ended, payload); }
    if (!last) { return {}; }
    fragments_ = 0;
    return finish_message(payload, in_place ? Checked::no : Checked::yes, limits, inflator);
}

Event Reader::finish_message(std::string_view payload, Checked checked, const ReaderLimits& limits,
                             Inflator* inflator) {
    const bool text = message_ == Opcode::text;
    if (deflated_) {
        CHECK(inflator != nullptr);
        const auto message = inflator->inflate(payload, limits.message_bytes);
        if (!message) {
            return message.error() == InflateError::too_large
                       ? fail(error(close_code::too_large, "a message is too large"))
                       : fail(error(kInvalidPayload, "compressed data is malformed"));
        }
        payload = *message;
        checked = Checked::no;
    }
    const bool valid = !text || (checked == Checked::yes ? partial_->text.complete() : valid_utf8(payload));
    if (!valid) { return fail(error(kInvalidPayload, "text is not UTF-8")); }
    return {.kind = text ? Event::Kind::text : Event::Kind::binary, .payload = payload};
}

Event Reader::finish_control(Opcode opcode, std::string_view payload) {
    if (opcode == Opcode::ping) { return {.kind = Event::Kind::ping, .payload = payload}; }
    if (opcode == Opcode::pong) { return {.kind = Event::Kind::pong, .payload = payload}; }
    if (payload.empty()) {
        state_ = State::closed;
        return {.kind = Event::Kind::close, .code = close_code::no_status};
    }
    if (payload.size() == 1) { return fail(error(kProtocolError, "a close frame has half a code")); }
    const auto code =
        static_cast<std::uint16_t>(big_endian(reinterpret_cast<const std::uint8_t*>(payload.data()), 2));
    if (!valid_close_code(code)) { return fail(error(kProtocolError, "a close frame has a code that may not be sent")); }
    const std::string_view reason = payload.substr(2);
    if (!valid_utf8(reason)) { return fail(error(kInvalidPayload, "a close frame's reason is not UTF-8")); }
    state_ = State::closed;
    return {.kind = Event::Kind::close, .code = code, .payload = reason};
}

Event Reader::fail(Event event) {
    state_ = State::closed;
    header_size_ = 0;
    fragments_ = 0;
    partial_.reset();
    return event;
}

std::size_t encode_header(char* out, Opcode opcode, std::size_t payload_size, Rsv1 rsv1) {
    out[0] = static_cast<char>(0x80 | (rsv1 == Rsv1::set ? 0x40 : 0) | static_cast<std::uint8_t>(opcode));
    if (payload_size < 126) {
        out[1] = static_cast<char>(payload_size);
        return 2;
    }
    if (payload_size < 65536) {
        out[1] = 126;
        put_big_endian(out + 2, payload_size, 2);
        return 4;
    }
    out[1] = 127;
    put_big_endian(out + 2, payload_size, 8);
    return 10;
}

std::string encode_frame(Opcode opcode, std::string_view payload, Rsv1 rsv1) {
    CHECK(!is_control(opcode) || payload.size() <= kControlBytesMax);
    char header[kHeaderBytesMax];
    std::string frame;
    frame.reserve(kHeaderBytesMax + payload.size());
    frame.append(header, encode_header(header, opcode, payload.size(), rsv1));
    frame.append(payload);
    return frame;
}

std::string encode_close(std::uint16_t code, std::string_view reason) {
    if (code == close_code::no_status) { return encode_frame(Opcode::close, {}); }
    CHECK(valid_close_code(code));
    std::size_t size = std::min(reason.size(), kControlBytesMax - 2);
    if (size < reason.size()) {
        while (size > 0 && (static_cast<std::uint8_t>(reason[size]) & 0xC0) == 0x80) { --size; }
    }
    char payload[kControlBytesMax];
    put_big_endian(payload, code, 2);
    if (size > 0) { std::memcpy(payload + 2, reason.data(), size); }
    return encode_frame(Opcode::close, {payload, size + 2});
}

bool valid_close_code(std::uint16_t code) {
    if (code >= 3000) { return code <= 4999; }
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

std::string encode_masked(const MaskedFrame& frame) {
    char header[kHeaderBytesMax];
    const std::size_t size = encode_header(header, frame.opcode, frame.payload.size(), frame.rsv1);
    if (!frame.final) { header[0] = static_cast<char>(header[0] & 0x7F); }
    header[1] = static_cast<char>(header[1] | 0x80);
    std::uint8_t mask[4];
    put_big_endian(reinterpret_cast<char*>(mask), frame.mask, 4);
    std::string bytes;
    bytes.reserve(size + 4 + frame.payload.size());
    bytes.append(header, size);
    bytes.append(reinterpret_cast<const char*>(mask), 4);
    bytes.append(frame.payload);
    unmask(std::span(bytes).subspan(size + 4), mask);
    return bytes;
}

}  // namespace starling::codec::websocket
