#pragma once
// `starling publish` and `starling tail`: a blocking client of a gateway that runs, for shells.

#include <cstdint>
#include <expected>
#include <string>

#include "server/config.h"

namespace starling::server {

struct ClientRequest {
    std::string url;                   // "http://host:port", also without "http://" or with a path; empty: the configuration's listen.
    std::string app = "default";
    std::string channel;
    std::string data;                  // Raw JSON.
    std::string event;
};

using Done = std::expected<void, std::string>;

// Publishes through the HTTP API with the app's first API key, and prints the answer.
Done publish_message(const Config& config, const ClientRequest& request);

// Prints each frame with a message, one a line, until the gateway ends the connection.
Done tail_channel(const Config& config, const ClientRequest& request);

enum class HttpScheme : std::uint8_t { http, https };
// Whether a gateway answers /health/live there.
bool is_alive(HttpScheme scheme, Endpoint endpoint);

}  // namespace starling::server
