// `get` and `echo`: the same calls, to Cairn and to a server that does nothing.
#include "tests/bench/load/command.h"
#include "tests/bench/load/in_flight.h"

namespace cairn::bench {
namespace {

CLI::App* AddInFlight(CLI::App* app, Session* session, const std::string& name,
                      const std::string& description,
                      const std::shared_ptr<InFlightOptions>& options) {
  CLI::App* command = AddCommand(app, session, name, description, options, MeasureInFlight);
  command->add_option("--in-flight", options->in_flight, "Calls in hand at a time")
      ->check(CLI::Range(1, 10'000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--channels", options->channels, "Connections over which they go")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "How long is measured")
      ->check(CLI::PositiveNumber)
      ->type_name("S")
      ->capture_default_str();
  command->add_option("--warm-up", options->warm_up_seconds, "For how long before nothing counts")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S")
      ->capture_default_str();
  return command;
}

}  // namespace

void AddGetAndEcho(CLI::App* app, Session* session) {
  auto get = std::make_shared<InFlightOptions>();
  AddInFlight(app, session, "get", "GetVolume as often as it goes", get)
      ->add_option("--volume", get->volume_id, "The id of a volume that exists")
      ->type_name("ID")
      ->required();
  auto echo = std::make_shared<InFlightOptions>();
  // As long as an id; nobody looks at it.
  echo->volume_id = "00000000-0000-4000-8000-000000000000";
  AddInFlight(app, session, "echo", "The same to a server of cairn_bench_echo", echo);
}

}  // namespace cairn::bench
