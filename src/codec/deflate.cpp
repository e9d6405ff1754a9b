#include "codec/deflate.h"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace starling::codec {

class DeflateScratch {
 public:
    char* data() { return bytes_.get(); }
    std::size_t size() const { return size_; }
    // Contents are lost.
    void prepare(std::size_t size) {
        if (size_ >= size && size_ <= kKeptBytes) { return; }
        bytes_.reset();
        bytes_ = std::make_unique_for_overwrite<char[]>(size);
        size_ = size;
    }
    // Contents are kept.
    void grow(std::size_t size) {
        auto larger = std::make_unique_for_overwrite<char[]>(size);
        std::memcpy(larger.get(), bytes_.get(), size_);
        bytes_ = std::move(larger);
        size_ = size;
    }
    void release_large() {
        if (size_ > kKeptBytes) {
            bytes_.reset();
            size_ = 0;
        }
    }

 private:
    // A large message should not hold its memory for the life of the shard.
    static constexpr std::size_t kKeptBytes = 1 << 20;

    std::unique_ptr<char[]> bytes_;
    std::size_t size_ = 0;
};

namespace {

Bytef* bytes_of(std::string_view view) {
    return reinterpret_cast<Bytef*>(const_cast<char*>(view.data()));
}

// RFC 7692 §7.2.1: what the sender cut off after its flush.
constexpr std::array<char, 4> kTail{'\0', '\0', '\xff', '\xff'};

}  // namespace

struct Deflator::State {
    libdeflate_compressor* whole = nullptr;
    z_stream narrow{};
    std::uint8_t narrow_bits = 0;  // 0: `narrow` is not set up.
    int level = 1;
    DeflateScratch out;

    ~State() {
        if (whole != nullptr) { libdeflate_free_compressor(whole); }
        if (narrow_bits != 0) { deflateEnd(&narrow); }
    }
    std::optional<std::string_view> deflate_whole(std::string_view message);
    std::optional<std::string_view> deflate_narrow(std::string_view message, std::uint8_t bits);
};

Deflator::Deflator(int level) : state_(std::make_unique<State>()) {
    state_->level = std::clamp(level, 1, 9);
}
Deflator::~Deflator() = default;
Deflator::Deflator(Deflator&&) noexcept = default;
Deflator& Deflator::operator=(Deflator&&) noexcept = default;

std::optional<std::string_view> Deflator::deflate(std::string_view message, std::uint8_t window_bits) {
    CHECK(window_bits >= 8);
    CHECK(window_bits <= 15);
    if (message.size() < 4) { return std::nullopt; }
    // A message that fits the window cannot reach back past it, whoever compresses it.
    if (window_bits == 15 || message.size() <= (std::size_t{1} << window_bits)) {
        return state_->deflate_whole(message);
    }
    if (window_bits == 8) { return std::nullopt; }  // zlib has no raw stream that narrow.
    return state_->deflate_narrow(message, window_bits);
}

// RFC 7692 §7.2.3.4: a final block, and after it a zero byte, which together with the tail that the
// receiver adds is an empty block.
std::optional<std::string_view> Deflator::State::deflate_whole(std::string_view message) {
    if (whole == nullptr) {
        whole = libdeflate_alloc_compressor(level);
        CHECK(whole != nullptr);
    }
    out.prepare(message.size());
    const std::size_t size =
        libdeflate_deflate_compress(whole, message.data(), message.size(), out.data(), message.size() - 2);
    if (size == 0) { return std::nullopt; }
    out.data()[size] = '\0';
    return std::string_view(out.data(), size + 1);
}

// RFC 7692 §7.2.1: flushed to a byte boundary, the empty block's last four bytes cut off.
std::optional<std::string_view> Deflator::State::deflate_narrow(std::string_view message, std::uint8_t bits) {
    if (narrow_bits != bits) {
        if (narrow_bits != 0) { deflateEnd(&narrow); }
        narrow = z_stream{};
        CHECK(deflateInit2(&narrow, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        narrow_bits = bits;
    } else {
        CHECK(deflateReset(&narrow) == Z_OK);
    }
    out.prepare(message.size() + kTail.size());
    narrow.next_in = bytes_of(message);
    narrow.avail_in = static_cast<uInt>(message.size());
    narrow.next_out = reinterpret_cast<Bytef*>(out.data());
    narrow.avail_out = static_cast<uInt>(message.size() + kTail.size());
    const int result = ::deflate(&narrow, Z_SYNC_FLUSH);
    // Room left is zlib's sign that the flush is complete.
    if (result != Z_OK || narrow.avail_out == 0 || narrow.avail_in != 0) { return std::nullopt; }
    const std::size_t size = narrow.total_out - kTail.size();
    if (size >= message.size()) { return std::nullopt; }
    return std::string_view(out.data(), size);
}

struct Inflator::State {
    z_stream stream{};
    bool ready = false;
    bool ended = false;    // All that came so far ends with a final block.
    std::size_t size = 0;  // Of the message so far.
    DeflateScratch out;

    ~State() {
        if (ready) { inflateEnd(&stream); }
    }
    enum class Fed : std::uint8_t { all, too_large, malformed };
    Fed feed(std::string_view bytes, std::size_t limit);
    // zlib says so of a stream that stands between two blocks.
    bool between_blocks() const { return (stream.data_type & 128) != 0; }
};

Inflator::Inflator() : state_(std::make_unique<State>()) {}
Inflator::~Inflator() = default;
Inflator::Inflator(Inflator&&) noexcept = default;
Inflator& Inflator::operator=(Inflator&&) noexcept = default;

Inflator::State::Fed Inflator::State::feed(std::string_view bytes, std::size_t limit) {
    stream.next_in = bytes_of(bytes);
    stream.avail_in = static_cast<uInt>(bytes.size());
    const std::size_t size_max = limit + 1;  // One more than may be, to see that there is more.
    while (true) {
        if (size == out.size()) { out.grow(std::min(size_max, out.size() * 2)); }
        const std::size_t room = std::min(out.size(), size_max) - size;
        stream.next_out = reinterpret_cast<Bytef*>(out.data() + size);
        stream.avail_out = static_cast<uInt>(room);
        const int result = ::inflate(&stream, Z_SYNC_FLUSH);
        size += room - stream.avail_out;
        if (size > limit) { return Fed::too_large; }
        ended = result == Z_STREAM_END;
        if (ended) {
            if (stream.avail_in == 0) { return Fed::all; }
            // RFC 7692 §7.2.3.4: blocks may follow a final one.
            if (inflateReset(&stream) != Z_OK) { return Fed::malformed; }
            continue;
        }
        if (result != Z_OK && result != Z_BUF_ERROR) { return Fed::malformed; }
        if (stream.avail_out != 0) { return stream.avail_in == 0 ? Fed::all : Fed::malformed; }
    }
}

std::expected<std::string_view, InflateError> Inflator::inflate(std::string_view payload, std::size_t limit) {
    State& state = *state_;
    if (payload.empty()) { return std::string_view{}; }  // A flush with nothing to flush.
    if (!state.ready) {
        CHECK(inflateInit2(&state.stream, -15) == Z_OK);
        state.ready = true;
    } else {
        CHECK(inflateReset(&state.stream) == Z_OK);
    }
    state.size = 0;
    state.ended = false;
    state.out.release_large();
    state.out.prepare(std::min(limit + 1, std::max<std::size_t>(state.out.size(), 4096)));

    auto fed = state.feed(payload, limit);
    // After a final block that ends the payload there is nothing for the tail to complete.
    if (fed == State::Fed::all && !state.ended) {
        fed = state.feed(std::string_view(kTail.data(), kTail.size()), limit);
        if (fed == State::Fed::all && !state.ended && !state.between_blocks()) {
            fed = State::Fed::malformed;  // Cut off within a block.
        }
    }
    if (fed == State::Fed::too_large) { return std::unexpected(InflateError::too_large); }
    if (fed == State::Fed::malformed) { return std::unexpected(InflateError::malformed); }
    return std::string_view(state.out.data(), state.size);
}

}  // namespace starling::codec
