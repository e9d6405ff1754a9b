// A whole node in this process: its shards, its configuration file, and the signals by which it is told.

#include "server/gateway.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "server/client_rig.h"
#include "server/eventually.h"
#include "server/listener_rig.h"

namespace starling::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Gateway : public testing::Test {
 protected:
    Gateway() {
        // Before any thread exists, so that a signal to this process comes to the gateway's sigwait alone.
        sigset_t signals;
        sigemptyset(&signals);
        for (const int signal : {SIGTERM, SIGHUP, SIGUSR1}) { sigaddset(&signals, signal); }
        ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
        std::string folder = (std::filesystem::temp_directory_path() / "starling-gateway-XXXXXX").string();
        EXPECT_NE(::mkdtemp(folder.data()), nullptr);
        folder_ = folder;
        sources_.file = folder_ / "starling.toml";
    }
    ~Gateway() override {
        if (thread_.joinable()) { end(); }
        std::filesystem::remove_all(folder_);
    }

    // With this line in [server], this API key, and this after all else.
    void write(const std::string& server_line, const std::string& api_key, const std::string& more = {}) const {
        std::ofstream(sources_.file) << "[server]\nlisten = \"127.0.0.1:" << public_.port() << "\"\nadmin = \"127.0.0.1:"
                                     << admin_.port() << "\"\nlog_level = \"off\"\nshards = 3\n" << server_line
                                     << "\n[presence]\nlinger_ms = 0\n[[apps]]\nid = \"default\"\napi_keys = [\"" << api_key
                                     << "\"]\n[[apps.namespaces]]\nname = \"\"\nallow = [\"subscribe\"]\n" << more;
    }
    int run() const {
        const auto config = load_config(sources_);
        EXPECT_TRUE(config) << (config ? "" : config.error().front());
        return config ? run_gateway(sources_, *config) : -1;
    }
    void start() {
        thread_ = std::thread([this] { code_ = run(); });
        EXPECT_TRUE(eventually([this] { return listens(); }));
    }
    int end() {
        ::kill(::getpid(), SIGTERM);
        thread_.join();
        return code_;
    }
    bool listens() const {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(public_.port());
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
        ::close(fd);
        return connected && is("GET /health/ready", 200);
    }
    bool is(const std::string& line, int status, const std::string& rest = "\r\n") const {
        return request(public_.port(), line, "localhost", rest).starts_with("HTTP/1.1 " + std::to_string(status) + " ");
    }
    bool takes_key(const std::string& key) const {
        return is("GET /v1/channels", 200, "Authorization: Bearer " + key + "\r\n\r\n");
    }
    std::string metrics() const { return request(admin_.port(), "GET /metrics"); }
    // Told to read its configuration again, and done with it.
    void reload(const std::string& result) {
        const std::string before = sample(result);
        ::kill(::getpid(), SIGHUP);
        EXPECT_TRUE(eventually([&] { return sample(result) != before; })) << result;
    }
    std::string sample(const std::string& result) const {
        const std::string text = metrics();
        const std::size_t at = text.find("starling_reloads_total{result=\"" + result + "\"}");
        return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
    }
    // Ends by itself.
    void expect_no_start() const { EXPECT_EQ(run(), 1); }

    ReservedPort public_, admin_;
    ConfigSources sources_;
    std::filesystem::path folder_;

 private:
    std::thread thread_;
    int code_ = -1;
};

constexpr const char* kQuickDrain = "drain.delay_ms = 0\ndrain.window_ms = 0";

TEST_F(Gateway, AMessageReachesTheSubscribersOfEveryShard) {
    write(kQuickDrain, "first-key-first-key");
    sources_.development = true;
    start();
    // The kernel deals connections out to three listeners; of so many, none has all.
    std::vector<int> clients;
    for (int i = 0; i < 24; ++i) {
        const int fd = clients.emplace_back(upgrade(public_.port()));
        say(fd, frame(1, R"({"type":"connect","user":"u)" + std::to_string(i) + R"("})"));
        say(fd, frame(1, R"({"type":"subscribe","id":1,"channel":"doc:1"})"));
        EXPECT_THAT(receive(fd, "\"subscribed\""), HasSubstr("connected"));
    }
    const std::string text = metrics();
    EXPECT_THAT(text, HasSubstr("starling_connections 24"));
    const std::string body = R"({"data":"for all"})";
    EXPECT_TRUE(is("POST /v1/channels/doc:1/messages", 200,
                   "Authorization: Bearer first-key-first-key\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
    for (const int fd : clients) {
        EXPECT_THAT(receive(fd, "for all"), HasSubstr("for all"));
        ::close(fd);
    }
    EXPECT_EQ(end(), 0);
}

TEST_F(Gateway, AReloadThatIsRefusedChangesNothingAndTheNextIsTaken) {
    write(kQuickDrain, "first-key-first-key");
    start();
    EXPECT_TRUE(takes_key("first-key-first-key"));
    write(kQuickDrain, "other-key-other-key", "no toml at all");
    reload("refused");
    EXPECT_TRUE(takes_key("first-key-first-key"));
    EXPECT_FALSE(takes_key("other-key-other-key"));
    // TOML, but a certificate that is not there.
    write(std::string(kQuickDrain) + "\ntls.certificate = \"" + (folder_ / "none.pem").string() + "\"\ntls.key = \"" +
              (folder_ / "none.key").string() + '"', "other-key-other-key");
    reload("refused");
    EXPECT_TRUE(takes_key("first-key-first-key"));
    std::filesystem::remove(sources_.file);
    reload("refused");
    EXPECT_TRUE(takes_key("first-key-first-key"));
    write(kQuickDrain, "other-key-other-key");
    reload("taken");
    EXPECT_TRUE(eventually([&] { return takes_key("other-key-other-key"); }));
    EXPECT_FALSE(takes_key("first-key-first-key"));
    EXPECT_THAT(metrics(), HasSubstr("starling_reloads_total{result=\"refused\"} 3"));
    EXPECT_EQ(end(), 0);
}

TEST_F(Gateway, WhileItDrainsItIsNotReadyAndServesOnUntilTheWindowIsOver) {
    // Long enough that the test sees it; it ends when the last connection does, not before.
    write("drain.delay_ms = 300\ndrain.window_ms = 1000", "first-key-first-key");
    sources_.development = true;
    start();
    const int fd = upgrade(public_.port());
    say(fd, frame(1, R"({"type":"connect","user":"ada"})"));
    EXPECT_THAT(receive(fd, "\"messages\":[]}}"), HasSubstr("connected"));
    std::thread ending([this] { EXPECT_EQ(end(), 0); });
    EXPECT_TRUE(eventually([this] { return is("GET /health/ready", 503); }));
    EXPECT_TRUE(is("GET /health/live", 200));
    EXPECT_THAT(receive(fd, "\"reconnect\""), HasSubstr("reconnect"));
    EXPECT_THAT(receive(fd, "\x03\xf4"), HasSubstr("\x03\xf4")) << "closed with 1012";
    say(fd, frame(8, "\x03\xf4"));
    receive(fd);                             // Until the stream ends.
    ::close(fd);
    ending.join();
}

TEST_F(Gateway, DoesNotStartOnWhatIsNotThere) {
    write(std::string(kQuickDrain) + "\ntls.certificate = \"" + (folder_ / "none.pem").string() + "\"\ntls.key = \"" +
              (folder_ / "none.key").string() + '"', "first-key-first-key");
    expect_no_start();
    // A port that somebody has for himself.
    write(kQuickDrain, "first-key-first-key");
    const int off = 0;
    ASSERT_EQ(::setsockopt(admin_.socket(), SOL_SOCKET, SO_REUSEPORT, &off, sizeof off), 0);
    ASSERT_EQ(::listen(admin_.socket(), 1), 0);
    expect_no_start();
}

}  // namespace
}  // namespace starling::server
