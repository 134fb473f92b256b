// The rules of the seam that all backends share.
#include "backend/rules.h"

#include <limits>

#include "status_of.h"
#include "test.h"

using namespace tramontane;
using test::status_of;

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

TEST("the number of an adapter and its scale are checked") {
  const int32_t token = 0, page = 0;
  const auto status = [&](int32_t adapter, float scale) {
    const SequenceSlice slice = {0, 1, 0, &page, 1, adapter, scale};
    return status_of([&] { check_step({&token, 1, &slice, 1, nullptr, 0}, options()); });
  };
  CHECK(status(1, 2) == Status::kOk);
  CHECK(status(-1, 2) == Status::kInvalid);
  CHECK(status(1, std::numeric_limits<float>::infinity()) == Status::kInvalid);
  CHECK(status(1, std::numeric_limits<float>::quiet_NaN()) == Status::kInvalid);
}

TEST("the pairs of an adapter fit linear layers, each once") {
  const ModelShape& shape = options().shape;
  const uint8_t data[4] = {};
  const MatrixShape query = shape_of(Role::kQuery, shape);
  const AdapterPair good{Role::kQuery,
                         0,
                         {Format::kF16, 2, query.columns, data},
                         {Format::kF16, query.rows, 2, data},
                         1,
                         nullptr};
  const auto status = [&](auto change) {
    AdapterPair pair = good;
    change(pair);
    return status_of([&] { check_adapter(1, &pair, 1, shape); });
  };
  CHECK(status([](AdapterPair&) {}) == Status::kOk);
  const auto refused = [&](auto change) { CHECK(status(change) == Status::kInvalid); };
  refused([](AdapterPair& p) { p.role = Role::kOutput; });
  refused([](AdapterPair& p) { p.role = Role::kFfnNorm; });
  refused([](AdapterPair& p) { p.role = static_cast<Role>(99); });
  refused([](AdapterPair& p) { p.role = Role::kFfnDown; });
  refused([&](AdapterPair& p) { p.layer = shape.layers; });
  refused([](AdapterPair& p) { p.layer = -1; });
  refused([](AdapterPair& p) { p.down.rows = 3; });
  refused([](AdapterPair& p) { p.down.rows = p.up.columns = 0; });
  refused([](AdapterPair& p) { p.down.rows = p.up.columns = kMaxAdapterRank + 1; });
  refused([](AdapterPair& p) { p.down.columns += 1; });
  refused([](AdapterPair& p) { p.up.rows -= 1; });
  refused([](AdapterPair& p) { p.down.format = Format::kQ8_0; });
  refused([](AdapterPair& p) { p.up.data = nullptr; });
  refused([](AdapterPair& p) { p.scale = std::numeric_limits<float>::infinity(); });
  const AdapterPair twice[] = {good, good};
  CHECK(status_of([&] { check_adapter(1, twice, 2, shape); }) == Status::kInvalid);
  CHECK(status_of([&] { check_adapter(0, &good, 1, shape); }) == Status::kInvalid);
  CHECK(status_of([&] { check_adapter(1, &good, 0, shape); }) == Status::kInvalid);
}

TEST("roles are found by the names that checkpoints give them") {
  Role role;
  CHECK(find_role("token_embedding", &role) && role == Role::kTokenEmbedding);
  CHECK(find_role("attention_output", &role) && role == Role::kAttentionOutput);
  CHECK(find_role("ffn_down", &role) && role == Role::kFfnDown);
  CHECK(!find_role("ffn", &role));
  CHECK(!find_role("", &role));
}
