#include "redis_model.h"

#include <utility>

#include "engine/scripts.h"

namespace starling::sim {

RedisModel::RedisModel(RedisOptions options, std::string run_id, ScriptHost& host)
    : options_(std::move(options)), run_id_(std::move(run_id)), host_(host) {}

RedisConnection RedisModel::open() {
    clients_[next_].authenticated = options_.password.empty();
    return next_++;
}

void RedisModel::close(RedisConnection id) {
    const auto it = clients_.find(id);
    if (it == clients_.end()) { return; }
    const auto forget = [&](auto& table, const std::set<std::string>& names) {
        for (const auto& name : names) {
            const auto entry = table.find(name);
            entry->second.erase(id);
            if (entry->second.empty()) { table.erase(entry); }
        }
    };
    forget(channels_, it->second.channels);
    forget(shard_channels_, it->second.shard_channels);
    forget(patterns_, it->second.patterns);
    clients_.erase(it);
}

void RedisModel::feed(RedisConnection id, std::string_view bytes) {
    const auto it = clients_.find(id);
    if (it != clients_.end()) { it->second.reader.feed(bytes); }
}

namespace {

// For a trace: the engine's scripts by their names.
std::string script_name(const std::string& command, const std::string& text) {
    const auto sha = lower(command) == "eval" ? sha1_hex(text) : text;
    for (const auto* script : {&engine::scripts::apply(), &engine::scripts::reg(), &engine::scripts::reap(), &engine::scripts::snap(),
                               &engine::scripts::meta(), &engine::scripts::holders(), &engine::scripts::publish(), &engine::scripts::read(),
                               &engine::scripts::erase(), &engine::scripts::acknowledge()}) {
        if (script->sha == sha) { return script->name; }
    }
    return sha;
}

}  // namespace

std::optional<RedisModel::Step> RedisModel::step(RedisConnection id, std::int64_t now_ms, bool lose_reply) {
    const auto it = clients_.find(id);
    if (it == clients_.end()) { return std::nullopt; }
    Words& words = words_;
    if (!it->second.reader.next(words)) {
        if (it->second.reader.broken()) { close(id); }
        return std::nullopt;
    }
    now_ms_ = now_ms;
    written_.clear();
    wrote_ = false;
    Step done{.name = lower(words[0])};
    done.script = done.name == "eval" || done.name == "evalsha";
    for (std::size_t i = 0; describes && i < words.size() && i < 40; ++i) { done.text += i == 1 && done.script ? script_name(words[0], words[1]) + " " : words[i].substr(0, 60) + " "; }
    bool answered = false;
    std::string partition = done.script && words.size() > 3 ? words[3] : std::string();
    const Reply reply = execute(id, it->second, words, answered);
    // Of the engine's scripts only these two say so.
    if (done.script && reply.kind == Reply::Kind::array && !reply.elements.empty() && reply.elements[0].text == "OK") {
        done.renewed = std::move(partition);
    }
    if (!answered && !lose_reply) {
        std::string bytes;
        append_reply(bytes, reply);
        output_.push_back({id, std::move(bytes), false});
    }
    done.wrote = wrote_;
    if (options_.replica && wrote_) { journal_.push_back({now_ms, std::move(written_)}); }
    if (done.name == "quit") { close(id); }
    return done;
}

std::optional<Reply> RedisModel::refuse(const Client& client, const std::string& name, const Words& words) const {
    const bool talk = name == "auth" || name == "hello" || name == "quit" || name == "reset";
    if (!client.authenticated && !talk) { return Reply::error("NOAUTH Authentication required."); }
    if (client.subscribed() && name != "ping" && !talk && !name.ends_with("subscribe")) {
        return Reply::error("ERR Can't execute '" + name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                            "RESET are allowed in this context");
    }
    if (mood == RedisMood::loading && !talk && name != "info" && name != "select" && name != "config" && name != "client" &&
        name != "role" && name != "script" && name != "publish" && !name.ends_with("subscribe")) {
        return Reply::error("LOADING Redis is loading the dataset in memory");
    }
    if (mood == RedisMood::busy && !talk && (name != "script" || words.size() < 2 || lower(words[1]) != "kill")) {
        return Reply::error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
    }
    return std::nullopt;
}

namespace {

bool arity_fits(int arity, std::size_t count) {
    return arity >= 0 ? count == static_cast<std::size_t>(arity) : count >= static_cast<std::size_t>(-arity);
}

Reply readonly_error() { return Reply::error("READONLY You can't write against a read only replica."); }
Reply full_error() { return Reply::error("OOM command not allowed when used memory > 'maxmemory'."); }

}  // namespace

Reply RedisModel::execute(RedisConnection id, Client& client, Words& words, bool& answered) {
    const auto name = lower(words[0]);
    const auto* command = find_command(name);
    if (command != nullptr && !arity_fits(command->arity, words.size())) { return arity_error(name); }
    if (auto refused = refuse(client, name, words)) { return *refused; }
    if (command != nullptr) {
        if (command->grows && mood == RedisMood::full) { return full_error(); }
        if (command->write && mood == RedisMood::readonly) { return readonly_error(); }
        return run_data(*command, words, client.database);
    }
    // Sharded pub/sub came with 7.0.
    const bool sharded = name == "ssubscribe" || name == "sunsubscribe" || name == "spublish";
    if (sharded && options_.version < "7") { return Reply::error("ERR unknown command '" + words[0] + "', with args beginning with: "); }
    if (name.ends_with("subscribe")) {
        answered = true;
        return subscribe(id, client, name, words);
    }
    if (name == "eval" || name == "evalsha") {
        return words.size() < 3 ? arity_error(name) : evaluate(client, words, name == "evalsha");
    }
    bool known = true;
    Reply reply = server_command(client, name, words, known);
    if (known) { return reply; }
    std::string text = "ERR unknown command '" + words[0].substr(0, 128) + "', with args beginning with: ";
    for (std::size_t i = 1; i < words.size() && text.size() < 128; ++i) { text += "'" + words[i].substr(0, 128) + "' "; }
    return Reply::error(text);
}

Reply RedisModel::run_data(const Command& command, Words& words, std::size_t database) {
    Call call{.store = stores_[database], .now_ms = now_ms_, .scan_whole = options_.scan_whole};
    Reply reply = command.run(call, words);
    wrote_ = wrote_ || call.dirty;
    if (call.dirty && options_.replica) { written_.push_back({database, call.replicated ? std::move(*call.replicated) : std::move(words)}); }
    return reply;
}

Reply RedisModel::evaluate(Client& client, Words& words, bool by_sha) {
    const auto count = parse_integer(words[2]);
    if (!count) { return Reply::error("ERR value is not an integer or out of range"); }
    if (*count > static_cast<std::int64_t>(words.size()) - 3) {
        return Reply::error("ERR Number of keys can't be greater than number of args");
    }
    if (*count < 0) { return Reply::error("ERR Number of keys can't be negative"); }
    make_next(words[1], client.version);
    const auto sha = by_sha ? lower(words[1]) : host_.sha_of(words[1]);
    if (by_sha && !scripts_.contains(sha)) { return Reply::error("NOSCRIPT No matching script. Please use EVAL."); }
    if (!by_sha) {
        if (auto failed = host_.compile(sha, words[1]); failed.is_error()) { return failed; }
        scripts_.insert(sha);
    }
    const std::span<const std::string> all(words);
    const auto keys = static_cast<std::size_t>(*count);
    in_script_ = true;
    script_database_ = client.database;
    Reply reply = host_.run(sha, all.subspan(3, keys), all.subspan(3 + keys), *this);
    in_script_ = false;
    return reply;
}

Reply RedisModel::script_call(Words& words) {
    const auto name = lower(words[0]);
    if (name == "publish" || (name == "spublish" && options_.version >= "7")) {
        if (words.size() != 3) { return Reply::error("ERR Wrong number of args calling Redis command from script"); }
        return Reply::number(publish(words[1], words[2], name == "spublish"));
    }
    const auto* command = find_command(name);
    if (command == nullptr) {
        if (name == "ping" && words.size() <= 2) { return words.size() == 1 ? Reply::status("PONG") : Reply::bulk(words[1]); }
        static const std::set<std::string> kRefused = {
            "auth", "hello", "eval", "evalsha", "script", "subscribe", "unsubscribe", "psubscribe", "punsubscribe",
            "ssubscribe", "sunsubscribe", "multi", "exec", "watch", "client", "config", "quit", "reset", "role", "info"};
        return Reply::error(kRefused.contains(name) ? "ERR This Redis command is not allowed from script"
                                                    : "ERR Unknown Redis command called from script");
    }
    if (!arity_fits(command->arity, words.size())) {
        return Reply::error("ERR Wrong number of args calling Redis command from script");
    }
    if (command->write && mood == RedisMood::readonly) { return readonly_error(); }
    // A script that has written already is let through: half of it would be worse than a little too much memory.
    if (command->grows && mood == RedisMood::full && !wrote_) { return full_error(); }
    return run_data(*command, words, script_database_);
}

void RedisModel::flush_all() {
    written_.clear();
    wrote_ = true;
    for (auto& store : stores_) { store.clear(); }
    written_.push_back({0, {"FLUSHALL"}});
    if (options_.replica) { journal_.push_back({now_ms_, std::exchange(written_, {})}); }
}

std::unique_ptr<RedisModel> RedisModel::reborn(std::string run_id) {
    auto next = std::make_unique<RedisModel>(options_, std::move(run_id), host_);
    next->stores_ = stores_;
    next->replica_ = stores_;
    next->now_ms_ = now_ms_;
    return next;
}

void RedisModel::apply(Stores& stores, const JournalGroup& group) const {
    for (const auto& [database, words] : group.written) {
        if (words[0] == "FLUSHALL") {
            for (auto& store : stores) { store.clear(); }
            continue;
        }
        Call call{.store = stores[database], .now_ms = group.at_ms};
        Words copy = words;
        find_command(lower(copy[0]))->run(call, copy);
    }
}

void RedisModel::replica_caught_up(std::int64_t seen_ms) {
    while (!journal_.empty() && journal_.front().at_ms <= seen_ms) {
        apply(replica_, journal_.front());
        journal_.pop_front();
    }
}

std::unique_ptr<RedisModel> RedisModel::promote(std::string run_id, std::int64_t seen_ms) {
    auto next = std::make_unique<RedisModel>(options_, std::move(run_id), host_);
    next->stores_ = replica_;
    for (const auto& group : journal_) { if (group.at_ms <= seen_ms) { apply(next->stores_, group); } }
    next->replica_ = next->stores_;
    next->now_ms_ = now_ms_;
    return next;
}

}  // namespace starling::sim
