// The nouns of the command line. Each function adds one with its verbs.
#ifndef CAIRN_CLIENT_CAIRNCTL_COMMANDS_H_
#define CAIRN_CLIENT_CAIRNCTL_COMMANDS_H_

#include <memory>

#include "cairnctl/command.h"
#include "cairnctl/session.h"

namespace cairn::cairnctl {

// The whole command line, with the global options.
std::unique_ptr<CLI::App> MakeApp(Session* session);

void AddVolumeCommands(CLI::App* app, Session* session);
void AddVolumeChangeVerbs(CLI::App* volume, Session* session);
void AddVolumeUseVerbs(CLI::App* volume, Session* session);
void AddVolumeContentVerbs(CLI::App* volume, Session* session);
void AddSnapshotCommands(CLI::App* app, Session* session);
void AddPoolCommands(CLI::App* app, Session* session);
void AddOperationCommands(CLI::App* app, Session* session);
void AddHealthCommand(CLI::App* app, Session* session);
void AddCompletionCommands(CLI::App* app, Session* session);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_COMMANDS_H_
