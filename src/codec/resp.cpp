#include "codec/resp.h"

#include <hiredis/read.h>

#include <utility>

namespace starling::codec::resp {

void append_command(std::string& out, const std::vector<std::string>& words) {
    std::size_t size = 16;
    for (const std::string& word : words) { size += word.size() + 16; }
    out.reserve(out.size() + size);
    out += '*';
    out += std::to_string(words.size());
    out += "\r\n";
    for (const std::string& word : words) {
        out += '$';
        out += std::to_string(word.size());
        out += "\r\n";
        out += word;
        out += "\r\n";
    }
}

// hiredis builds its objects through functions that are given the parent's; ours are Values. A Value inside an
// array is addressed only until its next sibling begins, so a growing vector may move it then.
struct Reader::State {
    explicit State(std::size_t size) : bytes_max(size), reader(redisReaderCreateWithFunctions(&functions)) {
        reader->privdata = this;             // The macro for it casts to int, which C++ refuses.
    }
    ~State() { redisReaderFree(reader); }
    State(const State&) = delete;

    static Value* place(const redisReadTask* task, Value::Kind kind) {
        auto* state = static_cast<State*>(task->privdata);
        if (++state->elements > kReplyElementsMax) { return nullptr; }
        Value* value = nullptr;
        if (task->parent == nullptr) {
            value = new Value;
        } else {
            value = &static_cast<Value*>(task->parent->obj)->elements.emplace_back();
        }
        value->kind = kind;
        return value;
    }
    static redisReplyObjectFunctions make_functions();
    static redisReplyObjectFunctions functions;

    std::size_t bytes_max;
    std::size_t pending = 0;                 // Bytes since the last complete reply.
    std::size_t elements = 0;                // Of the reply being read.
    std::string failure;
    redisReader* reader;
};

redisReplyObjectFunctions Reader::State::functions = make_functions();

redisReplyObjectFunctions Reader::State::make_functions() {
    redisReplyObjectFunctions made{};
    made.createString = [](const redisReadTask* task, char* text, std::size_t size) -> void* {
        const auto kind = task->type == REDIS_REPLY_ERROR    ? Value::Kind::error
                          : task->type == REDIS_REPLY_STATUS ? Value::Kind::status
                                                             : Value::Kind::text;
        Value* value = place(task, kind);
        if (value != nullptr) { value->text.assign(text, size); }
        return value;
    };
    // The count's type differs between the library's versions.
    made.createArray = [](const redisReadTask* task, auto) -> void* { return place(task, Value::Kind::array); };
    made.createInteger = [](const redisReadTask* task, long long number) -> void* {
        Value* value = place(task, Value::Kind::integer);
        if (value != nullptr) { value->integer = number; }
        return value;
    };
    made.createNil = [](const redisReadTask* task) -> void* { return place(task, Value::Kind::null); };
    made.freeObject = [](void* object) { delete static_cast<Value*>(object); };
    // Newer versions of the library also read RESP3, which is never asked for: not an answer.
    [](auto& table) {
        if constexpr (requires { table.createDouble; }) {
            table.createDouble = [](const redisReadTask*, double, char*, std::size_t) -> void* { return nullptr; };
            table.createBool = [](const redisReadTask*, int) -> void* { return nullptr; };
        }
    }(made);
    return made;
}

Reader::Reader(std::size_t size) : state_(std::make_unique<State>(size)) {}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

void Reader::feed(std::string_view bytes) {
    if (!state_->failure.empty() || bytes.empty()) { return; }
    state_->pending += bytes.size();
    redisReaderFeed(state_->reader, bytes.data(), bytes.size());
}

std::expected<std::optional<Value>, std::string> Reader::next() {
    State& state = *state_;
    if (!state.failure.empty()) { return std::unexpected(state.failure); }
    void* reply = nullptr;
    if (redisReaderGetReply(state.reader, &reply) != 0) {
        // Its text for a function that returned nothing is about memory; here it was a limit.
        state.failure = state.elements > kReplyElementsMax ? "a reply has too many elements" : state.reader->errstr;
        return std::unexpected(state.failure);
    }
    if (reply == nullptr) {
        if (state.pending > state.bytes_max) {
            state.failure = "a reply is too large";
            return std::unexpected(state.failure);
        }
        return std::nullopt;
    }
    const std::unique_ptr<Value> value(static_cast<Value*>(reply));
    state.pending = state.reader->len - state.reader->pos;
    state.elements = 0;
    return std::optional<Value>(std::move(*value));
}

}  // namespace starling::codec::resp
