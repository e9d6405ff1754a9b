#include "next_version.h"

#include <unordered_map>

#include "base/check.h"
#include "base/hash.h"
#include "engine/scripts.h"
#include "redis_script.h"

namespace starling::sim {

namespace {

constexpr std::pair<std::string_view, std::string_view> kChanges[] = {
    // A field at the end of a message, and a payload of a kind that is not known yet before it.
    {"call(pub, B..'c:'..ch, 'M'..f(e)..f(o)..f(before)..f(id)..f(body)..f(except))",
     "call(pub, B..'c:'..ch, 'Z'..f(e)) call(pub, B..'c:'..ch, 'M'..f(e)..f(o)..f(before)..f(id)..f(body)..f(except)..f('new'))"},
    // The same at the end of an acknowledgement and of an erasure.
    {"'A' .. f(a) .. f(except)", "'A' .. f(a) .. f(except) .. f('new')"},
    {"'X' .. f(ep)", "'X' .. f(ep) .. f('new')"},
    // An operation of a further kind in each delta.
    {"if #out > 0 then\n", "if #out > 0 then tell('z', 'new', 'field')\n"},
    // A field in the lease.
    {"call('HSET', L, 'o', ARGV[3], 's', state)", "call('HSET', L, 'o', ARGV[3], 's', state, 'z', 'new')"},
    {"'c', ARGV[3], 'd', '0')", "'c', ARGV[3], 'd', '0', 'z', 'new')"},
};
// An operation that may not be left out: the others' chain breaks, and the snapshot heals it.
constexpr std::pair<std::string_view, std::string_view> kBreak = {
    "    v = v + 1\n", "    v = v + 1\n    if v % 7 == 0 then tell('Q', 'new', 'field') end\n"};

using Texts = std::unordered_map<std::string, std::string, StringHash, std::equal_to<>>;

Texts make_texts(bool breaks) {
    namespace scripts = engine::scripts;
    Texts out;
    std::size_t made = 0;
    for (const auto* script : {&scripts::apply(), &scripts::reg(), &scripts::reap(), &scripts::snap(), &scripts::meta(),
                               &scripts::publish(), &scripts::read(), &scripts::erase(), &scripts::acknowledge()}) {
        std::string next = script->text;
        for (const auto& [from, to] : kChanges) {
            const auto at = next.find(from);
            if (at == std::string::npos) { continue; }
            next.replace(at, from.size(), to);
            ++made;
        }
        if (const auto at = next.find(kBreak.first); breaks && at != std::string::npos) { next.replace(at, kBreak.first.size(), kBreak.second); }
        if (next == script->text) { continue; }
        out.emplace(script->sha, sha1_hex(next));
        out.emplace(script->text, std::move(next));
    }
    CHECK(made >= std::size(kChanges));      // Else a script has changed, and this file has to.
    return out;
}

}  // namespace

void make_next(std::string& text_or_sha, Version version) {
    if (version == Version::ours) { return; }
    static const Texts polite = make_texts(false), breaking = make_texts(true);
    const Texts& texts = version == Version::next ? polite : breaking;
    const auto it = texts.find(text_or_sha);
    if (it != texts.end()) { text_or_sha = it->second; }
}

}  // namespace starling::sim
