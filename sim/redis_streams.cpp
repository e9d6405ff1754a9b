// Streams, with ids that the caller gives.
#include <algorithm>
#include <charconv>

#include "redis_store.h"

namespace starling::sim {

namespace {

Reply invalid_id() { return Reply::error("ERR Invalid stream ID specified as stream command argument"); }

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
    std::uint64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || result.ec != std::errc{} || result.ptr != text.data() + text.size()) { return std::nullopt; }
    return value;
}

// "5-3", or "5" with `missing` as its second part.
std::optional<StreamId> parse_id(std::string_view text, std::uint64_t missing) {
    const auto dash = text.find('-');
    const auto ms = parse_unsigned(text.substr(0, dash));
    if (!ms) { return std::nullopt; }
    if (dash == std::string_view::npos) { return StreamId{*ms, missing}; }
    const auto seq = parse_unsigned(text.substr(dash + 1));
    if (!seq) { return std::nullopt; }
    return StreamId{*ms, *seq};
}

std::string text(const StreamId& id) { return std::to_string(id.ms) + "-" + std::to_string(id.seq); }

Reply entry_reply(const Stream::Entry& entry) {
    Reply fields = Reply::array();
    for (const auto& field : entry.fields) { fields.elements.push_back(Reply::bulk(field)); }
    return Reply::array({Reply::bulk(text(entry.id)), std::move(fields)});
}

struct Trim {
    bool asked = false, approximate = false;
    std::size_t count = 0;
};

// MAXLEN [~|=] count, from words[i] on; moves i to its last word.
std::optional<Reply> parse_trim(const Words& words, std::size_t& i, Trim& trim) {
    if (i + 1 >= words.size()) { return syntax_error(); }
    trim.asked = true;
    ++i;
    if ((words[i] == "~" || words[i] == "=") && i + 1 < words.size()) {
        trim.approximate = words[i] == "~";
        ++i;
    }
    const auto count = parse_integer(words[i]);
    if (!count) { return Reply::error("ERR value is not an integer or out of range"); }
    if (*count < 0) { return Reply::error("ERR The MAXLEN argument must be >= 0."); }
    trim.count = static_cast<std::size_t>(*count);
    return std::nullopt;
}

// Approximate trimming drops whole nodes of 100 entries only.
std::int64_t perform(Stream& stream, const Trim& trim) {
    if (!trim.asked || stream.entries.size() <= trim.count) { return 0; }
    auto excess = stream.entries.size() - trim.count;
    if (trim.approximate) { excess -= excess % 100; }
    stream.entries.erase(stream.entries.begin(), stream.entries.begin() + static_cast<std::ptrdiff_t>(excess));
    return static_cast<std::int64_t>(excess);
}

Reply add(Call& call, Words& words) {
    Trim trim;
    bool make = true;
    std::size_t i = 2;
    for (; i < words.size(); ++i) {
        const auto option = lower(words[i]);
        if (option == "nomkstream") { make = false; }
        else if (option == "maxlen") { if (auto error = parse_trim(words, i, trim)) { return *error; } }
        else { break; }
    }
    if (i >= words.size()) { return Reply::error("ERR wrong number of arguments for 'xadd' command"); }
    const auto id = parse_id(words[i], 0);
    if (!id) { return invalid_id(); }
    const auto first = i + 1;
    if (words.size() - first < 2 || (words.size() - first) % 2 != 0) {
        return Reply::error("ERR wrong number of arguments for 'xadd' command");
    }
    if (*id == StreamId{}) { return Reply::error("ERR The ID specified in XADD must be greater than 0-0"); }
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) {
        if (!make) { return Reply::nil(); }
        key = &call.store.set(words[1], {.value = Stream()});
    }
    auto* stream = std::get_if<Stream>(&key->value);
    if (stream == nullptr) { return wrong_type(); }
    if (*id <= stream->last) {
        return Reply::error("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    }
    stream->entries.push_back({*id, Words(words.begin() + static_cast<std::ptrdiff_t>(first), words.end())});
    stream->last = *id;
    perform(*stream, trim);
    call.dirty = true;
    return Reply::bulk(text(*id));
}

struct Bound {
    StreamId id;
    bool empty = false;                      // An exclusive bound with nothing beyond it.
};

std::optional<Bound> parse_bound(std::string_view word, bool start, std::optional<Reply>& error) {
    constexpr std::uint64_t kMax = UINT64_MAX;
    if (word == "-") { return Bound{}; }
    if (word == "+") { return Bound{{kMax, kMax}}; }
    const bool exclusive = word.starts_with('(');
    const auto id = parse_id(exclusive ? word.substr(1) : word, start ? 0 : kMax);
    if (!id) { error = invalid_id(); return std::nullopt; }
    Bound bound{*id};
    if (exclusive && start) {
        if (id->ms == kMax && id->seq == kMax) { error = Reply::error("ERR invalid start ID for the interval"); return std::nullopt; }
        bound.id = id->seq == kMax ? StreamId{id->ms + 1, 0} : StreamId{id->ms, id->seq + 1};
    } else if (exclusive) {
        if (*id == StreamId{}) { error = Reply::error("ERR invalid end ID for the interval"); return std::nullopt; }
        bound.id = id->seq == 0 ? StreamId{id->ms - 1, kMax} : StreamId{id->ms, id->seq - 1};
    }
    return bound;
}

template <bool kReverse>
Reply range(Call& call, Words& words) {
    std::optional<Reply> error;
    const auto start = parse_bound(words[kReverse ? 3 : 2], true, error);
    if (!start) { return *error; }
    const auto end = parse_bound(words[kReverse ? 2 : 3], false, error);
    if (!end) { return *error; }
    std::int64_t count = -1;
    for (std::size_t i = 4; i < words.size(); i += 2) {
        if (lower(words[i]) != "count" || i + 1 == words.size()) { return syntax_error(); }
        const auto value = parse_integer(words[i + 1]);
        if (!value) { return Reply::error("ERR value is not an integer or out of range"); }
        count = *value < 0 ? 0 : *value;
    }
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::array(); }
    const auto* stream = std::get_if<Stream>(&key->value);
    if (stream == nullptr) { return wrong_type(); }
    if (count == 0) { return Reply{.kind = Reply::Kind::nil_array}; }
    const auto before = [](const Stream::Entry& entry, const StreamId& id) { return entry.id < id; };
    const auto after = [](const StreamId& id, const Stream::Entry& entry) { return id < entry.id; };
    auto from = std::lower_bound(stream->entries.begin(), stream->entries.end(), start->id, before);
    auto to = std::upper_bound(stream->entries.begin(), stream->entries.end(), end->id, after);
    Reply out = Reply::array();
    while (from < to && (count < 0 || static_cast<std::int64_t>(out.elements.size()) < count)) {
        out.elements.push_back(entry_reply(kReverse ? *--to : *from++));
    }
    return out;
}

Reply length(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::number(0); }
    const auto* stream = std::get_if<Stream>(&key->value);
    return stream == nullptr ? wrong_type() : Reply::number(static_cast<std::int64_t>(stream->entries.size()));
}

Reply trim(Call& call, Words& words) {
    Trim trim;
    std::size_t i = 2;
    if (lower(words[i]) != "maxlen") { return syntax_error(); }
    if (auto error = parse_trim(words, i, trim)) { return *error; }
    if (i + 1 != words.size()) { return syntax_error(); }
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::number(0); }
    auto* stream = std::get_if<Stream>(&key->value);
    if (stream == nullptr) { return wrong_type(); }
    const auto count = perform(*stream, trim);
    call.dirty = count > 0;
    return Reply::number(count);
}

Reply remove(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    auto* stream = key == nullptr ? nullptr : std::get_if<Stream>(&key->value);
    if (key != nullptr && stream == nullptr) { return wrong_type(); }
    std::vector<StreamId> ids;
    for (std::size_t i = 2; i < words.size(); ++i) {
        const auto id = parse_id(words[i], 0);
        if (!id) { return stream == nullptr ? Reply::number(0) : invalid_id(); }
        ids.push_back(*id);
    }
    if (stream == nullptr) { return Reply::number(0); }
    const auto before = stream->entries.size();
    for (const auto& id : ids) { std::erase_if(stream->entries, [&](const Stream::Entry& entry) { return entry.id == id; }); }
    const auto count = static_cast<std::int64_t>(before - stream->entries.size());
    call.dirty = count > 0;
    return Reply::number(count);
}

}  // namespace

std::vector<Command> stream_commands() {
    return {
        {"xadd", -5, true, true, add},
        {"xrange", -4, false, false, range<false>},
        {"xrevrange", -4, false, false, range<true>},
        {"xlen", 2, false, false, length},
        {"xtrim", -4, true, false, trim},
        {"xdel", -3, true, false, remove},
    };
}

}  // namespace starling::sim
