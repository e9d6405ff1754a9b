#include "server/cli.h"

#include <cstdio>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "server/cli_client.h"
#include "server/cli_doctor.h"
#include "server/cli_token.h"
#include "server/config_settings.h"

namespace starling::server {
namespace {

int fail(std::string_view message) {
    std::fprintf(stderr, "starling: %.*s\n", static_cast<int>(message.size()), message.data());
    return 1;
}

int fail(const ConfigErrors& errors) {
    for (const std::string& line : errors) { std::fprintf(stderr, "%s\n", line.c_str()); }
    return 1;
}

int print(std::string_view text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    return written ? 0 : 1;
}

int check_config(const Invocation& invocation) {
    const std::string name = invocation.sources.file.empty() ? "configuration" : invocation.sources.file;
    // Keys are parsed as well: a certificate where a public key belongs is found here, not at start.
    if (auto settings = make_settings(invocation.config, {}); !settings) { return fail(settings.error()); }
    return print(name + ": ok\n");
}

int mint(const Invocation& invocation, const MintRequest& request) {
    auto token = mint_token(invocation.config, request);
    return token ? print(*token + "\n") : fail(token.error());
}

int inspect(const std::string& token) {
    auto text = inspect_token(token);
    return text ? print(*text) : fail(text.error());
}

}  // namespace

Named take_config_flags(std::vector<std::string>& arguments) {
    Named flags;
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        // Only names of the configuration have a dot.
        if (!name.starts_with("--") || name.find('.') == std::string::npos || name.find(' ') != std::string::npos) {
            rest.push_back(word);
        } else if (equals != std::string::npos) {
            flags.emplace_back(name.substr(2), word.substr(equals + 1));
        } else {
            flags.emplace_back(name.substr(2), i + 1 < arguments.size() ? arguments[++i] : std::string());
        }
    }
    arguments = std::move(rest);
    return flags;
}

int run_cli(int argc, char** argv, Serve serve) {
    std::vector<std::string> arguments(argv + 1, argv + argc);
    Invocation invocation;
    ConfigSources& sources = invocation.sources;
    sources.flags = take_config_flags(arguments);
    sources.environment = environment_of(environ);

    CLI::App app("A gateway for the live connections of a collaboration app.", "starling");
    app.require_subcommand(1);
    app.footer("Any key of the configuration is a flag too: --server.listen=127.0.0.1:8000. See `starling config default`.");
    const auto command = [&](CLI::App& parent, const char* name, const char* help) {
        CLI::App* sub = parent.add_subcommand(name, help);
        sub->add_option("--config", sources.file, "the configuration, a TOML file");
        sub->add_flag("--dev", sources.development, "development mode: user names on trust, API key dev");
        return sub;
    };

    CLI::App* serve_command = command(app, "serve", "run the gateway");
    CLI::App* config_command = app.add_subcommand("config", "check, print or explain the configuration");
    config_command->require_subcommand(1);
    CLI::App* check_command = command(*config_command, "check", "say what is wrong in a file");
    check_command->add_option("FILE", sources.file, "the same as --config");
    CLI::App* print_command = command(*config_command, "print", "the effective configuration, secrets hidden");
    print_command->add_option("FILE", sources.file, "the same as --config");
    CLI::App* default_command = command(*config_command, "default", "every key with its default");

    MintRequest request;
    CLI::App* token_command = app.add_subcommand("token", "make or read a token");
    token_command->require_subcommand(1);
    CLI::App* mint_command = command(*token_command, "mint", "sign a token with the app's first HS key");
    mint_command->add_option("--sub", request.sub, "user id")->required();
    mint_command->add_option("--can", request.can, "PATTERN=RIGHT,...; with --channel only RIGHT,...");
    mint_command->add_option("--ttl", request.ttl, "90s, 15m, 1h, 7d; left out: no end");
    mint_command->add_option("--channel", request.channel, "make a channel token for this channel");
    mint_command->add_option("--channels", request.channels, "subscribed by the server at connect");
    mint_command->add_option("--info", request.info, "JSON, the default presence data");
    mint_command->add_option("--app", request.app, "whose key signs (default: default)");
    std::string token;
    CLI::App* inspect_command = command(*token_command, "inspect", "show what a token says, without judging it");
    inspect_command->add_option("TOKEN", token)->required();

    ClientRequest client;
    CLI::App* publish_command = command(app, "publish", "publish one message");
    publish_command->add_option("CHANNEL", client.channel)->required();
    publish_command->add_option("JSON", client.data)->required();
    publish_command->add_option("--event", client.event, "name of the event");
    CLI::App* tail_command = command(app, "tail", "print a channel's messages as they come");
    tail_command->add_option("CHANNEL", client.channel)->required();
    for (CLI::App* sub : {publish_command, tail_command}) {
        sub->add_option("--url", client.url, "where the gateway is (default: the configuration's listen)");
        sub->add_option("--app", client.app, "which app (default: default)");
    }
    CLI::App* doctor_command = command(app, "doctor", "check descriptors, clock, ports and settings of this machine");
    CLI::App* version_command = command(app, "version", "print the version");

    try {
        std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
        app.parse(std::move(reversed));
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }

    if (*version_command) { return print("starling " STARLING_VERSION "\n"); }
    if (*default_command) { return print(print_default_config()); }
    if (*inspect_command) { return inspect(token); }
    // Without a file the client commands speak to a gateway in development mode.
    if ((*publish_command || *tail_command) && sources.file.empty()) { sources.development = true; }
    auto config = load_config(sources);
    if (*doctor_command) { return run_doctor(sources, config); }
    if (!config) { return fail(config.error()); }
    invocation.config = std::move(*config);
    if (*serve_command) { return serve(invocation); }
    if (*check_command) { return check_config(invocation); }
    if (*print_command) { return print(print_config(invocation.config)); }
    if (*mint_command) { return mint(invocation, request); }
    const auto done = *publish_command ? publish_message(invocation.config, client) : tail_channel(invocation.config, client);
    return done ? 0 : fail(done.error());
}

}  // namespace starling::server
