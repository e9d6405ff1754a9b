#include "redis_script.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include <lua.hpp>
#include <openssl/sha.h>

namespace starling::sim {

std::string sha1_hex(std::string_view text) {
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    std::string out;
    for (const auto byte : digest) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

// What Lua calls. Lua's errors are jumps that run no destructor, so each entry builds its values in an inner
// call and raises only after that has returned.
struct ScriptBindings {
    static ScriptHost& host(lua_State* lua) {
        return *static_cast<ScriptHost*>(lua_touserdata(lua, lua_upvalueindex(1)));
    }

    static void push_field_table(lua_State* lua, const char* field, std::string_view text) {
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, text.data(), text.size());
        lua_setfield(lua, -2, field);
    }

    // An error as redis.call raises it. One without a code gets ERR.
    static void push_error(lua_State* lua, std::string_view text) {
        std::string whole(text);
        if (whole.starts_with('-')) { whole.erase(0, 1); }
        if (whole.find(' ') == std::string::npos) { whole = "ERR " + whole; }
        push_field_table(lua, "err", whole);
    }

    static void push_reply(lua_State* lua, const Reply& reply) {
        using enum Reply::Kind;
        switch (reply.kind) {
            case nil:
            case nil_array: lua_pushboolean(lua, 0); return;
            case integer: lua_pushnumber(lua, static_cast<lua_Number>(reply.integer)); return;
            case bulk: lua_pushlstring(lua, reply.text.data(), reply.text.size()); return;
            case status: push_field_table(lua, "ok", reply.text); return;
            case error: push_field_table(lua, "err", reply.text); return;
            case array:
                luaL_checkstack(lua, 4, "too deep");
                lua_createtable(lua, static_cast<int>(reply.elements.size()), 0);
                for (std::size_t i = 0; i < reply.elements.size(); ++i) {
                    push_reply(lua, reply.elements[i]);
                    lua_rawseti(lua, -2, static_cast<int>(i + 1));
                }
                return;
        }
    }

    // Leaves the result on the stack; true where it is an error.
    static bool perform(lua_State* lua) {
        const int count = lua_gettop(lua);
        if (count == 0) {
            push_error(lua, "ERR Please specify at least one argument for this redis lib call");
            return true;
        }
        Words& words = host(lua).words_;     // Its strings keep their memory.
        words.resize(static_cast<std::size_t>(count));
        for (int i = 1; i <= count; ++i) {
            std::string& word = words[static_cast<std::size_t>(i - 1)];
            if (lua_type(lua, i) == LUA_TNUMBER) {
                char text[64];
                const double number = lua_tonumber(lua, i);
                if (std::abs(number) < 1e15 && std::floor(number) == number && !std::signbit(number)) {
                    word = std::to_string(static_cast<std::int64_t>(number));
                    continue;
                }
                const int size = std::snprintf(text, sizeof text, "%.17g", number);
                word.assign(text, static_cast<std::size_t>(size));
            } else if (lua_type(lua, i) == LUA_TSTRING) {
                std::size_t size = 0;
                const char* text = lua_tolstring(lua, i, &size);
                word.assign(text, size);
            } else {
                push_error(lua, "ERR Lua redis lib command arguments must be strings or integers");
                return true;
            }
        }
        lua_settop(lua, 0);
        const Reply reply = host(lua).calls_->script_call(words);
        push_reply(lua, reply);
        return reply.is_error();
    }

    static int call(lua_State* lua) { return perform(lua) ? lua_error(lua) : 1; }
    static int pcall(lua_State* lua) { perform(lua); return 1; }

    static int error_reply(lua_State* lua) {
        if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
            push_error(lua, "ERR wrong number or type of arguments");
        } else {
            std::size_t size = 0;
            const char* text = lua_tolstring(lua, -1, &size);
            push_error(lua, {text, size});
        }
        return 1;
    }

    static int status_reply(lua_State* lua) {
        if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
            push_error(lua, "ERR wrong number or type of arguments");
        } else {
            std::size_t size = 0;
            const char* text = lua_tolstring(lua, -1, &size);
            push_field_table(lua, "ok", {text, size});
        }
        return 1;
    }

    static int sha1(lua_State* lua) {
        std::size_t size = 0;
        const char* text = luaL_checklstring(lua, 1, &size);
        char hex[41];
        {
            const auto digest = sha1_hex({text, size});
            std::memcpy(hex, digest.data(), 40);
        }
        lua_pushlstring(lua, hex, 40);
        return 1;
    }

    static int missing_global(lua_State* lua) {
        return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", lua_tostring(lua, 2));
    }
    static int readonly_global(lua_State* lua) { return luaL_error(lua, "Attempt to modify a readonly table"); }

    static int ignore(lua_State*) { return 0; }
    static int yes(lua_State* lua) { lua_pushboolean(lua, 1); return 1; }

    static std::string field(lua_State* lua, const char* name) {
        lua_pushstring(lua, name);
        lua_rawget(lua, -2);
        std::size_t size = 0;
        const char* text = lua_type(lua, -1) == LUA_TSTRING || lua_type(lua, -1) == LUA_TNUMBER
                               ? lua_tolstring(lua, -1, &size) : nullptr;
        std::string out = text == nullptr ? std::string() : std::string(text, size);
        lua_pop(lua, 1);
        return out;
    }

    // Takes the value at the top of the stack.
    static Reply take_reply(lua_State* lua) {
        Reply out;
        switch (lua_type(lua, -1)) {
            case LUA_TSTRING: {
                std::size_t size = 0;
                const char* text = lua_tolstring(lua, -1, &size);
                out = Reply::bulk(std::string(text, size));
                break;
            }
            case LUA_TBOOLEAN: out = lua_toboolean(lua, -1) ? Reply::number(1) : Reply::nil(); break;
            case LUA_TNUMBER: out = Reply::number(static_cast<std::int64_t>(lua_tonumber(lua, -1))); break;
            case LUA_TTABLE: out = take_table(lua); break;
            default: break;
        }
        lua_pop(lua, 1);
        return out;
    }

    static bool has_text(lua_State* lua, const char* name) {
        lua_pushstring(lua, name);
        lua_rawget(lua, -2);
        const bool found = lua_type(lua, -1) == LUA_TSTRING;
        lua_pop(lua, 1);
        return found;
    }

    static std::string without_newlines(std::string text) {
        for (auto& c : text) { if (c == '\r' || c == '\n') { c = ' '; } }
        return text;
    }

    static Reply take_table(lua_State* lua) {
        if (!lua_checkstack(lua, 4)) { return Reply::error("ERR reached lua stack limit"); }
        if (has_text(lua, "err")) { return Reply::error(without_newlines(field(lua, "err"))); }
        if (has_text(lua, "ok")) { return Reply::status(without_newlines(field(lua, "ok"))); }
        Reply out = Reply::array();
        out.elements.reserve(lua_objlen(lua, -1));
        for (int i = 1;; ++i) {
            lua_rawgeti(lua, -1, i);
            if (lua_type(lua, -1) == LUA_TNIL) { lua_pop(lua, 1); break; }
            out.elements.push_back(take_reply(lua));
        }
        return out;
    }

    static void push_words(lua_State* lua, std::span<const std::string> words, const char* global) {
        lua_createtable(lua, static_cast<int>(words.size()), 0);
        for (std::size_t i = 0; i < words.size(); ++i) {
            lua_pushlstring(lua, words[i].data(), words[i].size());
            lua_rawseti(lua, -2, static_cast<int>(i + 1));
        }
        lua_pushstring(lua, global);
        lua_insert(lua, -2);
        lua_rawset(lua, LUA_GLOBALSINDEX);
    }
};

namespace {

// How Redis notes where an error came from, and how it guards the globals. Scripts see the globals through a
// table of their own that takes no assignment.
constexpr char kPrelude[] = R"(
local dbg = debug
debug = nil
loadfile, dofile, print, collectgarbage, newproxy, module, require, package, io, os = nil
local globals = _G
setmetatable(globals, { __index = missing_global })
environment = setmetatable({}, { __index = globals, __newindex = readonly_global })
function error_handler(err)
    local info = dbg.getinfo(2, 'nSl')
    if info and info.what == 'C' then info = dbg.getinfo(3, 'nSl') end
    if type(err) ~= 'table' then err = { err = 'ERR ' .. tostring(err) } end
    if info then
        err['source'] = info.source
        err['line'] = info.currentline
    end
    return err
end
)";

}  // namespace

ScriptHost::ScriptHost() : lua_(luaL_newstate()) {
    luaL_openlibs(lua_);
    lua_gc(lua_, LUA_GCSETPAUSE, 1000);      // Little is alive between two scripts.
    lua_newtable(lua_);
    const auto bind = [&](const char* name, lua_CFunction function) {
        lua_pushlightuserdata(lua_, this);
        lua_pushcclosure(lua_, function, 1);
        lua_setfield(lua_, -2, name);
    };
    bind("call", ScriptBindings::call);
    bind("pcall", ScriptBindings::pcall);
    bind("error_reply", ScriptBindings::error_reply);
    bind("status_reply", ScriptBindings::status_reply);
    bind("sha1hex", ScriptBindings::sha1);
    bind("log", ScriptBindings::ignore);
    bind("replicate_commands", ScriptBindings::yes);
    lua_pushnumber(lua_, 3);
    lua_setfield(lua_, -2, "LOG_WARNING");
    lua_setglobal(lua_, "redis");
    lua_register(lua_, "missing_global", ScriptBindings::missing_global);
    lua_register(lua_, "readonly_global", ScriptBindings::readonly_global);
    if (luaL_dostring(lua_, kPrelude) != 0) {
        std::fprintf(stderr, "prelude: %s\n", lua_tostring(lua_, -1));
        std::abort();
    }
    lua_getglobal(lua_, "error_handler");
    handler_ = luaL_ref(lua_, LUA_REGISTRYINDEX);
}

const std::string& ScriptHost::sha_of(const std::string& text) {
    const auto it = shas_.find(text);
    return it != shas_.end() ? it->second : shas_.emplace(text, sha1_hex(text)).first->second;
}

ScriptHost::~ScriptHost() { lua_close(lua_); }

Reply ScriptHost::compile(const std::string& sha, std::string_view text) {
    if (functions_.contains(sha)) { return Reply::nil(); }
    if (luaL_loadbuffer(lua_, text.data(), text.size(), "@user_script") != 0) {
        const auto error = Reply::error("ERR Error compiling script (new function): " +
                                        ScriptBindings::without_newlines(lua_tostring(lua_, -1)));
        lua_pop(lua_, 1);
        return error;
    }
    lua_getglobal(lua_, "environment");
    lua_setfenv(lua_, -2);
    functions_[sha] = luaL_ref(lua_, LUA_REGISTRYINDEX);
    return Reply::nil();
}

Reply ScriptHost::run(const std::string& sha, std::span<const std::string> keys, std::span<const std::string> arguments, ScriptCalls& calls) {
    calls_ = &calls;
    ScriptBindings::push_words(lua_, keys, "KEYS");
    ScriptBindings::push_words(lua_, arguments, "ARGV");
    lua_rawgeti(lua_, LUA_REGISTRYINDEX, handler_);
    lua_rawgeti(lua_, LUA_REGISTRYINDEX, functions_.find(sha)->second);
    Reply reply;
    if (lua_pcall(lua_, 0, 1, -2) == 0) {
        reply = ScriptBindings::take_reply(lua_);
    } else if (lua_type(lua_, -1) == LUA_TTABLE) {
        auto text = ScriptBindings::field(lua_, "err");
        const auto source = ScriptBindings::field(lua_, "source"), line = ScriptBindings::field(lua_, "line");
        if (!source.empty() && !line.empty()) { text += " script: " + sha + ", on " + source + ":" + line + "."; }
        reply = Reply::error(ScriptBindings::without_newlines(text));
    } else {
        reply = Reply::error("ERR Error running script " + sha + ", execution failure");
    }
    lua_settop(lua_, 0);
    calls_ = nullptr;
    return reply;
}

}  // namespace starling::sim
