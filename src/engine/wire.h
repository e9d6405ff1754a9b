#pragma once
// What nodes say to each other over Redis pub/sub, and what they keep there. A field is <size>:<bytes>, so Lua
// writes it with one concatenation and no name or payload can end it early.
//
//   channel c:<ch>   P presence delta | M message | T typing | A acknowledged | X history erased
//
// Nodes of two versions run together: what a later one adds at the end of M, T, A and X, further letters, and operations of P
// with further small letters (and the same two fields) are left out here. An operation that may not be left out has a capital
// letter: the delta is then none, which breaks the chain, and the snapshot heals it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "codec/message.h"
#include "codec/resp.h"

namespace starling::engine {

void append_field(std::string& out, std::string_view bytes);
void append_field(std::string& out, std::int64_t number);

class FieldReader {
 public:
    explicit FieldReader(std::string_view text) : rest_(text) {}
    // After the first field that is none, everything reads as empty and ok() is false.
    std::string_view text();
    std::int64_t number();
    char letter();
    bool ok() const { return ok_; }
    std::string_view rest() const { return rest_; }
    bool at_end() const { return rest_.empty(); }

 private:
    std::string_view rest_;
    bool ok_ = true;
};

// One user of a channel as Redis keeps it: whoever holds the user, there is one record.
struct Record {
    std::int64_t connected_at = 0;
    std::uint64_t version = 0;               // Of the data: the highest wins.
    std::optional<std::string> data;
    std::uint64_t hash = 0;                  // member_hash.
};
// "hash:connectedAt:version:has:data", the value of pd:<ch>.
std::optional<Record> decode_record(std::string_view text);

// 40 bits, so that a sum over millions of members stays a 64-bit integer in Redis.
std::uint64_t member_hash(std::string_view channel, std::string_view user);

// One step of a channel's presence chain.
struct Delta {
    struct Op {
        // J first in, L last out, + one more incarnation, - one less, U data or connectedAt changed;
        // l lingers there from now on; c one less, by a farewell that knew of the chain up to record.version.
        char kind = 'J';
        std::string user;
        Record record;
    };
    std::string epoch;
    std::uint64_t version = 0;               // After this step.
    std::string before, tag;                 // The chain's tag before and after.
    std::string iid;                         // The incarnation whose contribution it is.
    std::vector<Op> ops;
};
struct Announcement {
    std::string epoch;                       // "": the channel keeps no history.
    std::uint64_t offset = 0;
    std::string before;                      // The id of the message before this one.
    Message message;
    std::string except;
};
struct TypingNote {
    std::string node, user;
    bool active = true;
};
struct AckNote {
    std::uint64_t offset = 0;
    std::string except;
};
struct EraseNote { std::string epoch; };

using Payload = std::variant<Delta, Announcement, TypingNote, AckNote, EraseNote>;
std::optional<Payload> decode_payload(std::string_view text);
std::string encode(const TypingNote& note);
// An announcement without history; one with history is written by the script.
std::string encode(const Announcement& announcement);
// Everything of a message but id and offset: what the log keeps.
std::string encode_body(const Message& message);
bool decode_body(std::string_view body, Message& message);

// A number as Redis answers it, as an integer or as text; 0 where it is none.
std::int64_t to_number(std::string_view text);
std::int64_t to_number(const codec::resp::Value& value);

// An incarnation is "<node id>.<number>".
std::string_view node_of(std::string_view iid);

}  // namespace starling::engine
