#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace starling::net {

namespace {

std::string last_error() {
    char text[256] = "unknown error";
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    return text;
}

SSL* ssl_of(void* pointer) { return static_cast<SSL*>(pointer); }

}  // namespace

std::expected<std::shared_ptr<TlsContext>, std::string> TlsContext::load(const std::string& certificate,
                                                                         const std::string& key) {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (context == nullptr) { return std::unexpected(last_error()); }
    std::shared_ptr<TlsContext> owner(new TlsContext(context));
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // An idle connection gives its buffers back.
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
        return std::unexpected(certificate + ": " + last_error());
    }
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
        return std::unexpected(key + ": " + last_error());
    }
    if (SSL_CTX_check_private_key(context) != 1) { return std::unexpected(key + ": does not fit the certificate"); }
    return owner;
}

std::expected<std::shared_ptr<TlsContext>, std::string> TlsContext::client(const std::string& authorities) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    if (context == nullptr) { return std::unexpected(last_error()); }
    std::shared_ptr<TlsContext> owner(new TlsContext(context));
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    const int loaded = authorities.empty() ? SSL_CTX_set_default_verify_paths(context)
                                           : SSL_CTX_load_verify_file(context, authorities.c_str());
    if (loaded != 1) { return std::unexpected(authorities + ": " + last_error()); }
    return owner;
}

TlsContext::~TlsContext() { SSL_CTX_free(static_cast<SSL_CTX*>(context_)); }

TlsSession::TlsSession(std::shared_ptr<TlsContext> context)
    : context_(std::move(context)), ssl_(SSL_new(static_cast<SSL_CTX*>(context_->native()))) {
    SSL_set_bio(ssl_of(ssl_), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl_of(ssl_));
}

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, const std::string& host)
    : context_(std::move(context)), ssl_(SSL_new(static_cast<SSL_CTX*>(context_->native()))) {
    SSL_set_bio(ssl_of(ssl_), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl_of(ssl_));
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1) {
        X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size());
        SSL_set_tlsext_host_name(ssl_of(ssl_), host.c_str());
    }
    SSL_set_connect_state(ssl_of(ssl_));
    SSL_do_handshake(ssl_of(ssl_));          // The first flight waits in the output.
    ERR_clear_error();
}

TlsSession::~TlsSession() { SSL_free(ssl_of(ssl_)); }

bool TlsSession::receive(std::string_view bytes, std::string& plain) {
    ERR_clear_error();
    BIO_write(SSL_get_rbio(ssl_of(ssl_)), bytes.data(), static_cast<int>(bytes.size()));
    while (true) {
        char buffer[16384];
        const int count = SSL_read(ssl_of(ssl_), buffer, sizeof buffer);
        if (count > 0) {
            plain.append(buffer, static_cast<std::size_t>(count));
            continue;
        }
        const int reason = SSL_get_error(ssl_of(ssl_), count);
        if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
            const long verified = SSL_get_verify_result(ssl_of(ssl_));
            failure_ = verified != X509_V_OK               ? X509_verify_cert_error_string(verified)
                       : reason == SSL_ERROR_ZERO_RETURN ? "the server closed the connection"
                                                         : last_error();
            return false;
        }
        break;
    }
    if (!waiting_.empty() && SSL_is_init_finished(ssl_of(ssl_)) == 1) { encrypt({}); }
    return true;
}

void TlsSession::encrypt(std::string_view plain) {
    waiting_ += plain;
    std::size_t written = 0;
    while (written < waiting_.size()) {
        const int count = SSL_write(ssl_of(ssl_), waiting_.data() + written, static_cast<int>(waiting_.size() - written));
        if (count <= 0) { break; }
        written += static_cast<std::size_t>(count);
    }
    waiting_.erase(0, written);
}

std::string TlsSession::failure() const { return "TLS: " + failure_; }

std::string TlsSession::take_output() {
    std::string out;
    BIO* bio = SSL_get_wbio(ssl_of(ssl_));
    out.resize(BIO_ctrl_pending(bio));
    if (!out.empty()) { BIO_read(bio, out.data(), static_cast<int>(out.size())); }
    return out;
}

}  // namespace starling::net
