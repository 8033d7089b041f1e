#include "jobs/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>

#include "jobs/picture_paths.h"

namespace ingot {
namespace {

TEST(DeathOf, AKillFromOutsideIsNotTheJobs) {
  for (const int signal : {SIGKILL, SIGTERM, SIGINT, SIGHUP}) {
    EXPECT_FALSE(DeathOf(signal, /*out_of_memory=*/false).own_making) << signal;
  }
}

TEST(DeathOf, FatalSignalsExitsAndTheKernelsKillAreTheJobs) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) {
    EXPECT_TRUE(DeathOf(signal, /*out_of_memory=*/false).own_making) << signal;
  }
  EXPECT_TRUE(DeathOf(1 << 8, /*out_of_memory=*/false).own_making);
  const WorkerDeath death = DeathOf(SIGKILL, /*out_of_memory=*/true);
  EXPECT_TRUE(death.own_making);
  EXPECT_EQ(death.reason, "killed by the kernel: out of memory");
}

TEST(MessageStream, ObjectsArriveWholeAndInOrder) {
  std::array<int, 2> sockets;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  MessageStream to(sockets[1]);
  {
    MessageStream from(sockets[0]);
    EXPECT_FALSE(to.ReceiveArrived()->has_value());
    ASSERT_TRUE(from.Send({{"text", std::string(100'000, 'x') + "\n"}}).ok());
    ASSERT_TRUE(from.Send({{"number", 2}}).ok());
    EXPECT_EQ(TextOf(*to.Receive(), "text").size(), 100'001u);
    EXPECT_EQ(NumberOf(**to.ReceiveArrived(), "number"), 2);
  }
  EXPECT_EQ(to.Receive().status().code(), StatusCode::kUnavailable);
}

TEST(MessageStream, FaultsKeepTheirCode) {
  const Status fault = FaultFromJson(FaultToJson(OutOfBudget("too large")));
  EXPECT_EQ(fault.code(), StatusCode::kOutOfBudget);
  EXPECT_EQ(fault.message(), "too large");
}

TEST(OutputFolder, StaysBelowOutputs) {
  EXPECT_TRUE(CheckOutputFolder("txt2img-images").ok());
  EXPECT_TRUE(CheckOutputFolder("a/b").ok());
  for (const char* folder : {"", "/etc", "..", "a/../../b"}) {
    EXPECT_EQ(CheckOutputFolder(folder).code(), StatusCode::kInvalidArgument) << folder;
  }
}

}  // namespace
}  // namespace ingot
