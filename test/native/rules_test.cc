// The rules of the seam that all backends share.
#include "backend/rules.h"

#include <limits>

#include "test.h"

using namespace tramontane;

namespace {

BackendOptions options() {
  BackendOptions o{};
  o.shape = {2, 64, 96, 4, 2, 16, 100, 1e-5f, 1e4f, RopePairing::kHalves};
  o.window = 48;
  o.pages = 4;
  o.max_rows = 64;
  o.max_outputs = 2;
  o.threads = 1;
  return o;
}

template <typename Check>
Status status_of(Check check) {
  try {
    check();
    return Status::kOk;
  } catch (const StatusError& error) {
    return error.status();
  }
}

}  // namespace

TEST("a step's sequences cover its rows, and their pages exist where the rows see them") {
  const std::vector<int32_t> tokens(64);
  const int32_t good[] = {3, 1, 2}, negative[] = {0, -1, 0}, beyond[] = {0, 4, 0};
  const auto status = [&](const SequenceSlice& slice, int32_t rows) {
    return status_of([&] { check_step({tokens.data(), rows, &slice, 1, nullptr, 0}, options()); });
  };
  CHECK(status({0, 4, 60, good, 3, 0}, 4) == Status::kOk);
  CHECK(status({0, 4, 60, good, 3, 0}, 5) == Status::kInvalid);  // A row of no sequence.
  CHECK(status({0, 4, 60, good, 3, 0}, 3) == Status::kInvalid);  // More rows than the step.
  CHECK(status({1, 4, 60, good, 3, 0}, 5) == Status::kInvalid);  // A gap.
  CHECK(status({0, 0, 60, good, 3, 0}, 1) == Status::kInvalid);
  CHECK(status({0, 4, -1, good, 3, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 4, 60, nullptr, 3, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 4, 60, good, 0, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 4, 60, good, 1, 0}, 4) == Status::kInvalid);  // The ring is too short.
  CHECK(status({0, 4, 60, negative, 3, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 4, 60, beyond, 3, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 4, 96, negative, 3, 0}, 4) == Status::kInvalid);
  CHECK(status({0, 1, 127, negative, 3, 0}, 1) == Status::kOk);  // Pages 2 and 3: entries 2 and 0.
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  CHECK(status({0, 40, kLast - 40, good, 3, 0}, 40) == Status::kOk);
  CHECK(status({0, 40, kLast - 39, good, 3, 0}, 40) == Status::kInvalid);
}

TEST("an adapter is refused until there are adapters") {
  const int32_t token = 0, page = 0;
  const SequenceSlice slice = {0, 1, 0, &page, 1, 1};
  CHECK(status_of([&] {
          check_step({&token, 1, &slice, 1, nullptr, 0}, options());
        }) == Status::kUnsupported);
}

TEST("roles are found by the names that checkpoints give them") {
  Role role;
  CHECK(find_role("token_embedding", &role) && role == Role::kTokenEmbedding);
  CHECK(find_role("attention_output", &role) && role == Role::kAttentionOutput);
  CHECK(find_role("ffn_down", &role) && role == Role::kFfnDown);
  CHECK(!find_role("ffn", &role));
  CHECK(!find_role("", &role));
}
