// The bytes of a vocabulary's tokens, arranged for finding those that a grammar allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tramontane {

enum class TokenKind : uint8_t {
  kText,
  kNone,  // Control tokens and ids without a piece: never by their bytes.
  kByte,  // A byte by its number: only where no other token is this byte.
};

// Tokens as a tree of their bytes, depth first: what follows a node is its children, and `after`
// the first node that is not below it.
class TokenTree {
 public:
  static constexpr int32_t kNoToken = -1;
  struct Node {
    uint32_t after;
    int32_t token;   // That ends here; kNoToken.
    uint16_t depth;  // 0: the first byte of a token.
    uint8_t byte;
  };

  TokenTree() = default;
  // Of `tokens`, sorted by their bytes.
  TokenTree(const std::vector<int32_t>& tokens, const uint8_t* bytes, const int32_t* offsets);

  const std::vector<Node>& nodes() const { return nodes_; }
  size_t bytes() const { return nodes_.size() * sizeof(Node); }

 private:
  std::vector<Node> nodes_;
};

class Vocabulary {
 public:
  // Longer ones are not drawn under a grammar.
  static constexpr int32_t kMaxTokenBytes = 1024;
  // Plain tokens of more characters are found like others.
  static constexpr int32_t kMaxSliceCharacters = 24;

  // Token i is bytes[offsets[i] .. offsets[i + 1]). Takes some milliseconds.
  Vocabulary(std::vector<uint8_t> bytes, std::vector<int32_t> offsets,
             const std::vector<uint8_t>& kinds);

  int32_t size() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  // Of a mask, in 32-bit words.
  size_t mask_words() const { return (static_cast<size_t>(size()) + 31) / 32; }
  // Most bytes of a token.
  int32_t longest() const { return longest_; }

  // Whether the token can be drawn for its bytes.
  bool has_text(int32_t token) const { return spelled_[static_cast<size_t>(token)]; }
  const uint8_t* begin(int32_t token) const { return bytes_.data() + offset(token); }
  const uint8_t* end(int32_t token) const { return bytes_.data() + offset(token + 1); }
  // Another token of the same bytes, or kNoToken. The trees have the first of them.
  int32_t same_as(int32_t token) const { return same_[static_cast<size_t>(token)]; }

  const TokenTree& all() const { return all_; }
  // Tokens that are whole plain characters (each but `"`, `\` and U+0000 to U+001F), at most
  // `characters` of them, as a mask. From slices() - 1 on it has them all.
  const uint32_t* slice(int32_t characters) const;
  int32_t slices() const { return slice_count_; }
  // The tokens that are in no slice.
  const TokenTree& rest() const { return rest_; }

 private:
  int32_t offset(int32_t token) const { return offsets_[static_cast<size_t>(token)]; }

  std::vector<uint8_t> bytes_;
  std::vector<int32_t> offsets_, same_;
  std::vector<bool> spelled_;
  std::vector<uint32_t> slices_;  // [slices][mask_words]
  TokenTree all_, rest_;
  int32_t longest_ = 0, slice_count_ = 1;
};

}  // namespace tramontane
