// The lines of the doctor, by their grade. What this machine's kernel says is this machine's; what it is asked about is not.

#include "server/cli_doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/http_rig.h"
#include "server/resp_rig.h"

namespace starling::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Config quiet_config() {
    Config config;
    config.server.listen = config.server.admin = "127.0.0.1:0";
    config.apps.emplace_back();
    return config;
}
// A line, from its beginning.
std::string finding(const std::string& text) { return "\nfinding  " + text; }
std::string note(const std::string& text) { return "\nnote     " + text; }
std::string fine(const std::string& text) { return "\nok       " + text; }

// All lines; the exit code must fit.
std::string examine(const std::expected<Config, ConfigErrors>& config, const ConfigSources& sources = {}, Duration redis_patience = 20s) {
    testing::internal::CaptureStdout();
    const int code = run_doctor(sources, config, redis_patience);
    std::string lines = "\n" + testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, lines.find("\nfinding ") == std::string::npos ? 0 : 1);
    return lines;
}
std::string examine_redis(const std::string& url, Duration patience = 20s, const std::string& authorities = {}) {
    Config config = quiet_config();
    config.engine.type = "redis";
    config.redis.url = url;
    config.redis.authorities = authorities;
    return examine(config, {}, patience);
}

TEST(Doctor, LooksAtConfigurationPortsEngineAndMachine) {
    const std::string lines = examine(quiet_config());
    EXPECT_THAT(lines, AllOf(HasSubstr(fine("configuration\n")), HasSubstr(fine("server.listen: 127.0.0.1:0 is free")),
                             HasSubstr(fine("server.admin: 127.0.0.1:0 is free")), HasSubstr(fine("engine: embedded, nothing to reach"))));
    for (const char* what : {" io_uring: ", " descriptors: ", " clock: ", " net.core.somaxconn: ", " net.ipv4.tcp_max_syn_backlog: "}) { EXPECT_THAT(lines, HasSubstr(what)); }
    Config off = quiet_config();
    off.server.io_uring = "off";
    EXPECT_THAT(examine(off), HasSubstr(note("io_uring: switched off")));
}

TEST(Doctor, EveryErrorOfTheConfigurationIsAFindingAndTheMachineIsLookedAtAllTheSame) {
    const std::string lines = examine(std::unexpected(ConfigErrors{"a.toml:1: first", "a.toml:2: second"}));
    EXPECT_THAT(lines, AllOf(HasSubstr(finding("configuration: a.toml:1: first")), HasSubstr(finding("configuration: a.toml:2: second")),
                             Not(HasSubstr("server.listen")), HasSubstr(" descriptors: ")));
    Config keyless = quiet_config();         // Well formed, and its key is none.
    keyless.apps[0].token_keys.push_back({.algorithm = "RS256", .public_key = "no PEM"});
    EXPECT_THAT(examine(keyless), AllOf(HasSubstr(finding("configuration: ")), Not(HasSubstr(fine("configuration\n")))));
}

TEST(Doctor, APortIsFreeServedByAGatewayOrTaken) {
    const Issuer gateway(ok("{}"));
    const ScriptedServer other([](int peer) { ::shutdown(peer, SHUT_RDWR); });
    const std::string address = gateway.address();
    Config config = quiet_config();
    config.server.listen = address;
    config.server.admin = other.address();
    EXPECT_THAT(examine(config), AllOf(HasSubstr(fine("server.listen: " + address + " is served by a gateway")),
                                       HasSubstr(finding("server.admin: " + other.address() + ": Address already in use"))));
    config.server.listen = "192.0.2.1:8000";
    config.server.admin = "no.such.host.invalid:1";
    EXPECT_THAT(examine(config), AllOf(HasSubstr(finding("server.listen: 192.0.2.1:8000: Cannot assign requested address")),
                                       HasSubstr(finding("server.admin: no.such.host.invalid:1: "))));
}

// The admin listener never speaks TLS.
TEST(Doctor, AGatewayWithTlsIsKnownByItsAdminPort) {
    const Issuer gateway(ok("{}"));
    const std::string address = gateway.address();
    Config config = quiet_config();
    config.server.certificate = config.server.certificate_key = "/some/where.pem";
    config.server.admin = address;
    EXPECT_THAT(examine(config), HasSubstr(fine("server.admin: " + address + " is served by a gateway")));
    config.server.listen = address;          // That does not speak TLS either, and should.
    EXPECT_THAT(examine(config), HasSubstr(finding("server.listen: " + address + ": Address already in use")));
}

TEST(Doctor, AFileWithKeysIsNotForEverybody) {
    std::string folder = (std::filesystem::temp_directory_path() / "starling-doctor-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const std::string file = folder + "/starling.toml";
    std::ofstream(file) << "[server]\n";
    using std::filesystem::perms;
    std::filesystem::permissions(file, perms::owner_read | perms::owner_write | perms::others_read);
    EXPECT_THAT(examine(quiet_config(), {.file = file}), HasSubstr(note(file + ": readable by everybody")));
    std::filesystem::permissions(file, perms::owner_read | perms::owner_write);
    EXPECT_THAT(examine(quiet_config(), {.file = file}), HasSubstr(fine(file + ": not readable by others")));
    std::filesystem::remove_all(folder);
}

TEST(Doctor, ARedisIsReadyOrSaysWhyNot) {
    const RespServer server;
    EXPECT_THAT(examine_redis("redis://" + server.address()), HasSubstr(fine("redis: ready in ")));
    const RespServer evicting([](const RespServer::Words& words) -> std::optional<RespServer::Answer> {
        if (words != RespServer::Words{"INFO", "memory"}) { return std::nullopt; }
        return RespServer::Answer{engine::Rig::bulk("maxmemory_policy:volatile-ttl\r\n")};
    });
    EXPECT_THAT(examine_redis("redis://" + evicting.address()), AllOf(HasSubstr(finding("redis: " + evicting.address() + ": maxmemory-policy is volatile-ttl")),
                                                                      HasSubstr(fine("redis: ready in "))));
    const RespServer shy([](const RespServer::Words& words) -> std::optional<RespServer::Answer> {
        if (words[0] != "CONFIG") { return std::nullopt; }
        return RespServer::Answer{"-NOPERM no\r\n"};
    });
    EXPECT_THAT(examine_redis("redis://" + shy.address()), HasSubstr(note("redis: " + shy.address() + ": CONFIG GET is not allowed")));
    const RespServer locked([](const RespServer::Words&) { return RespServer::Answer{"-WRONGPASS no\r\n"}; });
    EXPECT_THAT(examine_redis("redis://:hidden-word@" + locked.address(), 300ms),
                AllOf(HasSubstr(finding("redis: " + locked.address() + ": AUTH is refused (WRONGPASS)")), HasSubstr(finding("redis: not reached")),
                      Not(HasSubstr("hidden-word"))));
    const ReservedPort nobody;
    EXPECT_THAT(examine_redis("redis://" + nobody.address(), 300ms), AllOf(HasSubstr(finding("redis: " + nobody.address() + ": Connection refused")),
                                                                          HasSubstr(finding("redis: not reached"))));
    EXPECT_THAT(examine_redis("rediss://" + server.address(), 300ms, "/no/such/file.pem"), HasSubstr(finding("redis: redis.tls.authorities: ")));
}

}  // namespace
}  // namespace starling::server
