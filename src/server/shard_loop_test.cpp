// One loop with its sockets, on a thread of its own, as the gateway runs it.

#include "server/shard_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "server/client_rig.h"
#include "server/config_settings.h"

namespace starling::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(AddressCounts, CountsUpToTheLimitAndForgetsWhoIsGone) {
    AddressCounts counts;
    EXPECT_TRUE(counts.try_add("a", 2));
    EXPECT_TRUE(counts.try_add("a", 2));
    EXPECT_FALSE(counts.try_add("a", 2));
    EXPECT_TRUE(counts.try_add("b", 2));
    counts.remove("a");
    EXPECT_TRUE(counts.try_add("a", 2));
    counts.remove("nobody");
    EXPECT_FALSE(counts.try_add("b", 0));
}

std::shared_ptr<Runtime> runtime() {
    auto out = std::make_shared<Runtime>();
    out->config.development = true;
    out->config.apps.emplace_back();
    domain::NamespaceSettings open;
    open.allow = domain::kAllRights;
    out->config.apps[0].namespaces.push_back(open);
    out->settings = std::make_shared<const domain::Settings>(*make_settings(out->config, std::string(32, 's')));
    return out;
}

class Loop : public testing::Test {
 protected:
    Loop() {
        domain::ShardIdentity identity{.node_id = "node", .address = "", .version = ""};
        identity.index = 0;
        identity.count = 1;
        identity.seed = 1;
        loop_ = std::make_unique<ShardLoop>(identity, runtime(), shared);
        port_ = *loop_->transport().listen("127.0.0.1", 0, kPublic);
        admin_ = *loop_->transport().listen("127.0.0.1", 0, kAdmin);
        thread_ = std::thread([this] { loop_->run(); });
    }
    ~Loop() override {
        shared.mailboxes[0]->send(StopPost{});
        thread_.join();
    }
    std::string get(const std::string& path, bool admin = false, const std::string& host = "localhost") const {
        return request(admin ? admin_ : port_, "GET " + path, host);
    }
    int connect() const { return upgrade(port_); }

    Shared shared{1};

 private:
    std::unique_ptr<ShardLoop> loop_;
    std::uint16_t port_ = 0, admin_ = 0;
    std::thread thread_;
};

TEST_F(Loop, IsReadyWhenAllIsAndNotWhileItDrains) {
    EXPECT_THAT(get("/health/live"), StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(get("/health/ready"), StartsWith("HTTP/1.1 503 "));
    shared.ready = true;
    EXPECT_THAT(get("/health/ready"), StartsWith("HTTP/1.1 200 "));
    shared.unready_engines = 1;
    EXPECT_THAT(get("/health/ready", true), StartsWith("HTTP/1.1 503 "));
    shared.unready_engines = 0;
    shared.draining = true;
    EXPECT_THAT(get("/health/ready"), StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(get("/health/live"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Loop, EachListenerHasItsOwnPaths) {
    EXPECT_THAT(get("/metrics", true), HasSubstr("starling_connections 0"));
    EXPECT_THAT(get("/metrics"), StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(get("/v1/nodes", true), StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(get("/metrics", true, "evil.example"), StartsWith("HTTP/1.1 403 "));
}

TEST_F(Loop, AConnectionIsConnectedAnsweredAndClosedForWhatItMayNotSend) {
    const int fd = connect();
    say(fd, frame(1, R"({"type":"connect","id":1,"user":"ada"})"));
    EXPECT_THAT(receive(fd, "\"messages\":[]}}"), HasSubstr(R"("type":"connected","id":1)"));
    // Two frames in one piece, the second broken in two.
    const std::string ping = frame(1, R"({"type":"ping","id":2})");
    say(fd, ping + frame(1, R"({"type":"ping","id":3})").substr(0, 9));
    EXPECT_THAT(receive(fd, "\"id\":2}"), HasSubstr(R"({"type":"pong","id":2})"));
    say(fd, frame(1, R"({"type":"ping","id":3})").substr(9));
    EXPECT_THAT(receive(fd, "\"id\":3}"), HasSubstr(R"({"type":"pong","id":3})"));
    say(fd, frame(2, "bytes"));
    EXPECT_THAT(receive(fd, "text frames only"), HasSubstr("\x03\xeb"));
    ::close(fd);
}

TEST_F(Loop, WhatComesBehindConnectWaitsForIt) {
    const int fd = connect();
    say(fd, frame(1, R"({"type":"connect","user":"ada"})") + frame(1, R"({"type":"ping","id":2})") + frame(8, "\x03\xe8"));
    const std::string told = receive(fd);
    EXPECT_LT(told.find("connected"), told.find("pong"));
    EXPECT_THAT(told, EndsWith("\x03\xe8"));
    ::close(fd);
}

}  // namespace
}  // namespace starling::server
