#include "server/options.h"

#include <sched.h>

#include <algorithm>
#include <thread>

#include "server/argv.h"
#include "server/config_file.h"
#include "server/endpoint.h"
#include "server/help.h"
#include "server/option_table.h"

#ifndef LARDER_VERSION
#define LARDER_VERSION "0.0.0"
#endif

namespace larder::server {
namespace {

int CoreCount() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// What `words` say of `row`, in their order: a value each, empty where it takes none.
std::vector<std::string_view> ValuesOf(const OptionRow& row,
                                       const std::vector<std::string>& words) {
  constexpr size_t kDashes = 2;
  std::vector<std::string_view> values;
  for (const std::string_view word : words) {
    const std::string_view name = word.substr(kDashes, word.find('=') - kDashes);
    if (name != row.name) continue;
    values.push_back(word.substr(std::min(kDashes + name.size() + 1, word.size())));
  }
  return values;
}

// In the order of the table.  The last value counts, but those of lists and switches add up.
Refusal Apply(const std::vector<std::string>& words, Options& options) {
  for (const OptionRow& row : OptionRows()) {
    const std::vector<std::string_view> values = ValuesOf(row, words);
    const bool adds_up = !row.takes_value() || row.name == "listen" || row.name == "extended";
    for (size_t i = adds_up || values.empty() ? 0 : values.size() - 1; i < values.size(); ++i) {
      if (Refusal refusal = row.apply(options, values[i]); refusal.refused()) return refusal;
    }
  }
  return {};
}

Refusal CheckTls(Options& options) {
  const TlsOptions& tls = options.tls;
  if (!tls.enabled) {
    const bool is_set = !tls.chain_cert.empty() || !tls.key.empty();
    if (is_set) options.warnings.emplace_back("-o ssl_...: of no effect without -Z");
    return {};
  }
  if (!options.unix_path.empty()) {
    options.warnings.emplace_back("-Z: what goes through a unix socket is not encrypted");
  }
  if (tls.chain_cert.empty()) {
    return {kExitUsage, "-Z needs a certificate: -o ssl_chain_cert=FILE,ssl_key=FILE"};
  }
  if (tls.peer_check >= PeerCheck::kRequire && tls.ca_cert.empty()) {
    return {kExitUsage, "-o ssl_verify_mode: without ssl_ca_cert no client could connect"};
  }
  return {};
}

Refusal CheckTlsPrefix(const Options& options, const std::string& where, const Endpoint& one) {
  const bool asks = one.tls_prefix == TlsPrefix::kBasic || one.tls_prefix == TlsPrefix::kMutual;
  if (asks && !options.tls.enabled) return {kExitUsage, where + ": it needs -Z"};
  if (asks && !one.unix_path.empty()) {
    return {kExitUsage, where + ": what goes through a unix socket is not encrypted"};
  }
  if (one.tls_prefix == TlsPrefix::kMutual && options.tls.ca_cert.empty()) {
    return {kExitUsage, where + ": mtls needs -o ssl_ca_cert=FILE"};
  }
  return {};
}

Refusal CheckListeners(const Options& options) {
  for (const std::string& text : options.listen) {
    const auto endpoint = ParseEndpoint(text, 0);
    if (!endpoint.ok()) {
      const auto why = endpoint.status().message();
      return {kExitUsage, std::string(why.data(), why.size())};
    }
    Refusal refusal = CheckListener(options, "-l '" + text + "'", *endpoint);
    if (refusal.refused()) return refusal;
  }
  return {};
}

// What the flags then override: first the files of --config, then the environment.
Refusal ApplyBelow(const std::vector<std::string>& words, const Environment& environment,
                   Options& options) {
  constexpr std::string_view kConfig = "--config=";
  for (const std::string& word : words) {
    if (!word.starts_with(kConfig)) continue;
    Refusal refusal = ApplyConfigFile(word.substr(kConfig.size()), options);
    if (refusal.refused()) return refusal;
  }
  if (environment) {
    if (Refusal refusal = ApplyEnvironment(environment, options); refusal.refused()) return refusal;
  }
  // These add up otherwise.
  for (const std::string& word : words) {
    if (word.starts_with("--listen=")) options.listen.clear();
    if (word == "--verbose") options.verbosity = 0;
  }
  return {};
}

// Who must authenticate himself can do so in one protocol only: the other would be a way around.
Refusal OneProtocolOnly(const Options& options) {
  return {kExitUsage, options.sasl
                          ? "ERROR: You cannot allow the ASCII protocol while using SASL."
                          : "ERROR: You cannot allow the BINARY protocol while using ascii "
                            "authentication tokens."};
}

Refusal CheckAuthentication(Options& options) {
  if (!options.authenticates()) return {};
  if (options.sasl && !options.password_file.empty()) {
    return {kExitUsage, "-S and -Y: there can be only one of them"};
  }
  const auto only = options.sasl ? BindingProtocol::kBinary : BindingProtocol::kAscii;
  if (options.is_protocol_given && options.protocol != only) return OneProtocolOnly(options);
  options.protocol = only;
  return options.udp_port != 0 ? CheckDatagrams(options) : Refusal{};
}

// Rules that bind several flags.
Refusal Check(Options& options) {
  const StoreOptions& store = options.store;
  const std::string item = std::to_string(store.max_item_bytes);
  const std::string chunk = std::to_string(store.max_chunk_bytes);
  if (store.max_item_bytes > store.memory_bytes / 2) {
    return {kExitUsage, "Cannot set item size limit higher than 1/2 of memory max."};
  }
  if (store.max_chunk_bytes > store.max_item_bytes) {
    return {kExitUsage, "-I: " + item + " bytes are less than the largest chunk (" + chunk +
                            "); lower -o slab_chunk_max too"};
  }
  if (store.max_item_bytes % store.max_chunk_bytes != 0) {
    return {kExitUsage,
            "-I: " + item + " bytes are no multiple of the largest chunk (" + chunk + ")"};
  }
  if (kMemcachedPageBytes % store.max_chunk_bytes != 0) {
    return {kExitUsage, "-o slab_chunk_max: " + chunk + " bytes do not divide a page of 1m"};
  }
  if (store.hot_percent + store.warm_percent > 80) {
    return {kExitUsage, "-o hot_lru_pct + warm_lru_pct: cannot be more than 80 together"};
  }
  if (store.temporary_ttl_seconds >= 0 && !store.segmented) {
    return {kExitUsage, "-o temporary_ttl: it needs lru_maintainer"};
  }
  const size_t most = options.chunk_max_given ? store.max_chunk_bytes : kMemcachedChunkMax;
  if (!store.chunk_sizes.empty() && store.chunk_sizes.back() > most) {
    return {kExitUsage,
            "-o slab_sizes: sizes must stay below slab_chunk_max (" + std::to_string(most) + ")"};
  }
  // memcached's: a UDP port alone is the TCP port too.
  if (options.udp_port != 0 && !options.port_given) options.port = options.udp_port;
  if (options.unix_path.empty() && options.port == 0 && options.udp_port == 0) {
    return {kExitUsage, "-p 0 without -s: there would be nothing to listen on"};
  }
  if (Refusal refusal = CheckTls(options); refusal.refused()) return refusal;
  if (Refusal refusal = CheckAuthentication(options); refusal.refused()) return refusal;
  return CheckListeners(options);
}

ParsedCommandLine Refused(Refusal refusal) {
  ParsedCommandLine result;
  result.exit_code = refusal.exit_code;
  result.err = std::move(refusal.text);
  if (!result.err.ends_with('\n')) result.err += '\n';
  return result;
}

}  // namespace

Refusal CheckListener(const Options& options, const std::string& where, const Endpoint& one) {
  if (options.authenticates() && one.protocol.value_or(options.protocol) != options.protocol) {
    return OneProtocolOnly(options);
  }
  return CheckTlsPrefix(options, where, one);
}

Refusal CheckDatagrams(const Options& options) {
  if (!options.authenticates()) return {};
  // A datagram could come from anybody.
  return {kExitUsage, options.sasl
                          ? "ERROR: Cannot enable UDP while using binary SASL authentication."
                          : "Cannot use UDP with ascii authentication enabled (-U 0 to disable)"};
}

std::string_view Version() { return LARDER_VERSION; }

ParsedCommandLine ParseCommandLine(std::span<const std::string> args,
                                   const Environment& environment) {
  PlainArguments plain = NormaliseArguments(args);
  if (plain.refusal.refused()) return Refused(std::move(plain.refusal));
  ParsedCommandLine result;
  if (plain.ended_by == "help") return result.out = HelpText(), result;
  if (plain.ended_by == "license") return result.out = LicenceText(), result;
  if (plain.ended_by == "version") return result.out = VersionText(), result;

  WarnOfStrays(plain, result.options);
  Refusal refusal = ApplyBelow(plain.words, environment, result.options);
  if (!refusal.refused()) refusal = Apply(plain.words, result.options);
  if (!refusal.refused()) refusal = Check(result.options);
  if (refusal.refused()) return Refused(std::move(refusal));
  if (result.options.threads == 0) result.options.threads = CoreCount();
  result.options.store.threads = static_cast<unsigned>(result.options.threads);
  result.run = true;
  return result;
}

}  // namespace larder::server
