// The commands of a server that are not about data: greeting, information, scripts, pub/sub.
#include <utility>

#include "redis_model.h"

namespace starling::sim {

namespace {

Reply subcommand_error(const std::string& name, const std::string& sub) {
    std::string upper = name;
    for (auto& c : upper) { if (c >= 'a' && c <= 'z') { c = static_cast<char>(c - 'a' + 'A'); } }
    return Reply::error("ERR unknown subcommand '" + sub + "'. Try " + upper + " HELP.");
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
    std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size() && pattern[p] == '\\' && p + 1 < pattern.size() && pattern[p + 1] == text[t]) {
            p += 2;
            ++t;
        } else if (p < pattern.size() && pattern[p] != '\\' && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') { ++p; }
    return p == pattern.size();
}

Reply RedisModel::server_command(Client& client, const std::string& name, Words& words, bool& known) {
    const auto count = words.size();
    if (name == "ping") {
        if (count > 2) { return arity_error(name); }
        if (client.subscribed()) { return Reply::array({Reply::bulk("pong"), Reply::bulk(count == 2 ? words[1] : "")}); }
        return count == 2 ? Reply::bulk(words[1]) : Reply::status("PONG");
    }
    if (name == "echo") { return count == 2 ? Reply::bulk(words[1]) : arity_error(name); }
    if (name == "quit" || name == "asking" || name == "readonly" || name == "readwrite") { return Reply::ok(); }
    if (name == "publish" || name == "spublish") {
        return count == 3 ? Reply::number(publish(words[1], words[2], name == "spublish")) : arity_error(name);
    }
    if (name == "auth") {
        if (count < 2) { return arity_error(name); }
        if (count > 3) { return syntax_error(); }
        if (options_.password.empty() && count == 2) {
            return Reply::error("ERR AUTH <password> called without any password configured for the default user. "
                                "Are you sure your configuration is correct?");
        }
        const bool user_fits = count == 2 || words[1] == "default";
        if (!user_fits || (!options_.password.empty() && words.back() != options_.password)) {
            return Reply::error("WRONGPASS invalid username-password pair or user is disabled.");
        }
        client.authenticated = true;
        return Reply::ok();
    }
    if (name == "select") {
        if (count != 2) { return arity_error(name); }
        const auto index = parse_integer(words[1]);
        if (!index) { return Reply::error("ERR value is not an integer or out of range"); }
        if (*index < 0 || *index >= static_cast<std::int64_t>(kDatabases)) { return Reply::error("ERR DB index is out of range"); }
        client.database = static_cast<std::size_t>(*index);
        return Reply::ok();
    }
    if (name == "flushall" || name == "flushdb") {
        if (mood == RedisMood::readonly) { return Reply::error("READONLY You can't write against a read only replica."); }
        flush_all();
        return Reply::ok();
    }
    if (name == "dbsize") { return Reply::number(static_cast<std::int64_t>(stores_[client.database].size())); }
    if (name == "info") { return information(words); }
    if (name == "role") {
        if (mood == RedisMood::readonly) {
            return Reply::array({Reply::bulk("slave"), Reply::bulk("127.0.0.1"), Reply::number(options_.port),
                                 Reply::bulk("connected"), Reply::number(replicated_bytes_)});
        }
        return Reply::array({Reply::bulk("master"), Reply::number(replicated_bytes_), Reply::array()});
    }
    if (name == "wait") {
        if (count != 3) { return arity_error(name); }
        // A lossy failover is the world's choice; WAIT is answered as by a replica that does not keep up.
        return Reply::number(options_.replica && journal_.empty() ? 1 : 0);
    }
    if (name == "config") {
        if (count < 2) { return arity_error(name); }
        if (lower(words[1]) != "get") { return subcommand_error(name, words[1]); }
        if (count < 3) { return Reply::error("ERR wrong number of arguments for 'config|get' command"); }
        Reply out = Reply::array();
        for (const auto& [key, value] : options_.config) {
            for (std::size_t i = 2; i < count; ++i) {
                if (!glob_matches(lower(words[i]), key)) { continue; }
                out.elements.push_back(Reply::bulk(key));
                out.elements.push_back(Reply::bulk(value));
                break;
            }
        }
        return out;
    }
    if (name == "client") {
        if (count < 2) { return arity_error(name); }
        const auto sub = lower(words[1]);
        if (sub == "setname" && count == 3) { client.name = words[2]; return Reply::ok(); }
        if (sub == "getname" && count == 2) { return client.name.empty() ? Reply::nil() : Reply::bulk(client.name); }
        if (sub == "no-evict" || sub == "reply") { return Reply::ok(); }
        return subcommand_error(name, words[1]);
    }
    if (name == "script") { return count < 2 ? arity_error(name) : script_command(words); }
    known = false;
    return {};
}

Reply RedisModel::script_command(Words& words) {
    const auto sub = lower(words[1]);
    if (sub == "load" && words.size() == 3) {
        const auto sha = sha1_hex(words[2]);
        if (auto failed = host_.compile(sha, words[2]); failed.is_error()) { return failed; }
        scripts_.insert(sha);
        return Reply::bulk(sha);
    }
    if (sub == "exists" && words.size() > 2) {
        Reply out = Reply::array();
        for (std::size_t i = 2; i < words.size(); ++i) { out.elements.push_back(Reply::number(scripts_.contains(lower(words[i])))); }
        return out;
    }
    if (sub == "flush") {
        scripts_.clear();
        return Reply::ok();
    }
    if (sub == "kill") { return Reply::error("NOTBUSY No scripts in execution right now."); }
    return subcommand_error("script", words[1]);
}

Reply RedisModel::information(const Words& words) const {
    std::set<std::string> wanted;
    for (std::size_t i = 1; i < words.size(); ++i) { wanted.insert(lower(words[i])); }
    const auto asked = [&](const char* section) {
        return wanted.empty() || wanted.contains(section) || wanted.contains("all") || wanted.contains("default") ||
               wanted.contains("everything");
    };
    std::string out;
    const auto section = [&](const char* name, const char* title, std::string lines) {
        if (!asked(name)) { return; }
        if (!out.empty()) { out += "\r\n"; }
        out += std::string("# ") + title + "\r\n" + std::move(lines);
    };
    section("server", "Server", "redis_version:" + options_.version + "\r\nredis_mode:standalone\r\nrun_id:" + run_id_ +
                                    "\r\ntcp_port:" + std::to_string(options_.port) + "\r\n");
    section("memory", "Memory", "maxmemory:" + options_.config.at("maxmemory") + "\r\nmaxmemory_policy:" +
                                    options_.config.at("maxmemory-policy") + "\r\n");
    section("persistence", "Persistence", mood == RedisMood::loading ? "loading:1\r\n" : "loading:0\r\n");
    section("replication", "Replication", std::string("role:") + (mood == RedisMood::readonly ? "slave" : "master") +
                                              "\r\nconnected_slaves:0\r\nmaster_repl_offset:" +
                                              std::to_string(replicated_bytes_) + "\r\n");
    section("cluster", "Cluster", "cluster_enabled:0\r\n");
    return Reply::bulk(out);
}

Reply RedisModel::subscribe(RedisConnection id, Client& client, const std::string& name, Words& words) {
    const bool leaving = name.find("unsubscribe") != std::string::npos;
    const bool sharded = name.starts_with("ssub") || name.starts_with("sunsub"), pattern = name[0] == 'p';
    auto& mine = sharded ? client.shard_channels : pattern ? client.patterns : client.channels;
    auto& all = sharded ? shard_channels_ : pattern ? patterns_ : channels_;
    std::string bytes;
    const auto confirm = [&](Reply channel) {
        const auto count = sharded ? mine.size() : client.channels.size() + client.patterns.size();
        append_reply(bytes, Reply::array({Reply::bulk(name), std::move(channel), Reply::number(static_cast<std::int64_t>(count))}));
    };
    Words names(words.begin() + 1, words.end());
    if (names.empty() && !leaving) {
        append_reply(bytes, arity_error(name));
    } else if (names.empty()) {
        names.assign(mine.begin(), mine.end());
        if (names.empty()) { confirm(Reply::nil()); }
    }
    for (const auto& channel : names) {
        if (!leaving) {
            mine.insert(channel);
            all[channel].insert(id);
        } else if (mine.erase(channel) > 0) {
            auto& listeners = all[channel];
            listeners.erase(id);
            if (listeners.empty()) { all.erase(channel); }
        }
        confirm(Reply::bulk(channel));
    }
    output_.push_back({id, std::move(bytes), false});
    return {};
}

void RedisModel::end_subscriptions(const std::string& part) {
    for (auto* all : {&channels_, &shard_channels_}) {
        const bool sharded = all == &shard_channels_;
        for (auto it = all->begin(); it != all->end();) {
            if (it->first.find(part) == std::string::npos) { ++it; continue; }
            for (const auto id : it->second) {
                Client& client = clients_.at(id);
                auto& mine = sharded ? client.shard_channels : client.channels;
                mine.erase(it->first);
                std::string bytes;
                append_reply(bytes, Reply::array({Reply::bulk(sharded ? "sunsubscribe" : "unsubscribe"), Reply::bulk(it->first),
                                                  Reply::number(static_cast<std::int64_t>(mine.size()))}));
                output_.push_back({id, std::move(bytes), false});
            }
            it = all->erase(it);
        }
    }
}

std::int64_t RedisModel::publish(const std::string& channel, const std::string& payload, bool sharded) {
    std::int64_t receivers = 0;
    auto& table = sharded ? shard_channels_ : channels_;
    if (const auto it = table.find(channel); it != table.end()) {
        std::string bytes;
        append_array(bytes, 3);
        append_bulk(bytes, sharded ? "smessage" : "message");
        append_bulk(bytes, channel);
        append_bulk(bytes, payload);
        for (const auto id : it->second) { output_.push_back({id, bytes, true}); ++receivers; }
    }
    if (sharded) { return receivers; }
    for (const auto& [pattern, listeners] : patterns_) {
        if (!glob_matches(pattern, channel)) { continue; }
        std::string bytes;
        append_reply(bytes, Reply::array({Reply::bulk("pmessage"), Reply::bulk(pattern), Reply::bulk(channel), Reply::bulk(payload)}));
        for (const auto id : listeners) { output_.push_back({id, bytes, true}); ++receivers; }
    }
    return receivers;
}

std::size_t RedisModel::subscribers(std::string_view channel) const {
    const auto plain = channels_.find(channel);
    const auto sharded = shard_channels_.find(channel);
    return (plain == channels_.end() ? 0 : plain->second.size()) + (sharded == shard_channels_.end() ? 0 : sharded->second.size());
}

}  // namespace starling::sim
