#pragma once
// Certificates made for a test.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace starling::net {

// A self-signed certificate for a name and an address, in files of their own.
struct Certificate {
    std::string folder, certificate, key;

    explicit Certificate(const std::string& names) {
        char name[] = "/tmp/starling-tls-XXXXXX";
        folder = ::mkdtemp(name);
        certificate = folder + "/certificate.pem";
        key = folder + "/key.pem";
        EVP_PKEY* pair = EVP_EC_gen("P-256");
        X509* made = X509_new();
        X509_set_version(made, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
        X509_gmtime_adj(X509_getm_notBefore(made), -60);
        X509_gmtime_adj(X509_getm_notAfter(made), 3600);
        X509_set_pubkey(made, pair);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
        X509_set_issuer_name(made, X509_get_subject_name(made));
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
        X509_add_ext(made, extension, -1);
        X509_EXTENSION_free(extension);
        X509_sign(made, pair, EVP_sha256());
        std::FILE* file = std::fopen(certificate.c_str(), "w");
        PEM_write_X509(file, made);
        std::fclose(file);
        file = std::fopen(key.c_str(), "w");
        PEM_write_PrivateKey(file, pair, nullptr, nullptr, 0, nullptr, nullptr);
        std::fclose(file);
        X509_free(made);
        EVP_PKEY_free(pair);
    }
    ~Certificate() {
        ::unlink(certificate.c_str());
        ::unlink(key.c_str());
        ::rmdir(folder.c_str());
    }
};

}  // namespace starling::net
