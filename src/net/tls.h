#pragma once
// TLS over memory buffers: encrypted bytes in, plain bytes out, and back. At least TLS 1.2, no
// renegotiation. A context is replaced on reload; connections keep the one they began with.

#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace starling::net {

class TlsContext {
 public:
    // Paths of PEM files: the certificate chain and its private key.
    static std::expected<std::shared_ptr<TlsContext>, std::string> load(const std::string& certificate,
                                                                        const std::string& key);
    // For connections to others, who are verified by `authorities` (a PEM file; empty: those of the system).
    static std::expected<std::shared_ptr<TlsContext>, std::string> client(const std::string& authorities);
    ~TlsContext();
    void* native() const { return context_; }

 private:
    explicit TlsContext(void* context) : context_(context) {}
    void* context_;                          // SSL_CTX
};

class TlsSession {
 public:
    explicit TlsSession(std::shared_ptr<TlsContext> context);
    // A client's, to a server that must have a certificate for `host`, a name or an address.
    TlsSession(std::shared_ptr<TlsContext> context, const std::string& host);
    ~TlsSession();
    // Decrypts `bytes` and appends what becomes readable; false: the peer broke the protocol or ended it.
    bool receive(std::string_view bytes, std::string& plain);
    void encrypt(std::string_view plain);    // Before the handshake is done, it waits inside.
    std::string take_output();               // Bytes to send to the peer now.
    std::string failure() const;             // Why receive() was false.

 private:
    std::shared_ptr<TlsContext> context_;
    void* ssl_;                              // SSL
    std::string waiting_;
    std::string failure_;
};

}  // namespace starling::net
