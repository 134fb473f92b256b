#include "grammar/vocabulary.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace tramontane {
namespace {

// How many plain characters the bytes are, or -1 where they are something else.
int32_t plain_characters(const uint8_t* at, const uint8_t* end) {
  int32_t characters = 0;
  while (at < end) {
    const uint8_t lead = *at++;
    if (lead < 0x20 || lead == '"' || lead == '\\') return -1;
    int more = 0;
    uint8_t least = 0x80, most = 0xbf;  // Of the second byte: no long forms, no surrogates.
    if (lead >= 0x80) {
      if (lead < 0xc2 || lead > 0xf4) return -1;
      more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
      if (lead == 0xe0) least = 0xa0;
      if (lead == 0xed) most = 0x9f;
      if (lead == 0xf0) least = 0x90;
      if (lead == 0xf4) most = 0x8f;
    }
    for (; more > 0; --more) {
      if (at == end || *at < least || *at > most) return -1;
      ++at;
      least = 0x80;
      most = 0xbf;
    }
    ++characters;
  }
  return characters;
}

}  // namespace

TokenTree::TokenTree(const std::vector<int32_t>& tokens, const uint8_t* bytes,
                     const int32_t* offsets) {
  std::vector<uint32_t> open;  // The nodes of the token before.
  const auto close_to = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) {
      nodes_[open.back()].after = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (const int32_t token : tokens) {
    const uint8_t* text = bytes + offsets[token];
    const auto length = static_cast<size_t>(offsets[token + 1] - offsets[token]);
    size_t shared = 0;
    while (shared < std::min(length, open.size()) && nodes_[open[shared]].byte == text[shared]) {
      ++shared;
    }
    close_to(shared);
    for (size_t depth = shared; depth < length; ++depth) {
      open.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, kNoToken, static_cast<uint16_t>(depth), text[depth]});
    }
    nodes_[open.back()].token = token;
  }
  close_to(0);
}

Vocabulary::Vocabulary(std::vector<uint8_t> bytes, std::vector<int32_t> offsets,
                       const std::vector<uint8_t>& kinds)
    : bytes_(std::move(bytes)), offsets_(std::move(offsets)) {
  const auto fits = [&](int32_t at) { return at >= 0 && static_cast<size_t>(at) <= bytes_.size(); };
  if (offsets_.size() != kinds.size() + 1 || !std::is_sorted(offsets_.begin(), offsets_.end()) ||
      !fits(offsets_.front()) || !fits(offsets_.back())) {
    throw Error("INVALID_OPTION", "the vocabulary's offsets do not fit its bytes");
  }
  const auto kind = [&](int32_t token) {
    return static_cast<TokenKind>(kinds[static_cast<size_t>(token)]);
  };
  std::array<bool, 256> has_piece{};
  for (int32_t token = 0; token < size(); ++token) {
    if (kind(token) == TokenKind::kText && end(token) - begin(token) == 1) {
      has_piece[*begin(token)] = true;
    }
  }
  std::vector<int32_t> tokens;
  spelled_.resize(kinds.size());
  same_.assign(kinds.size(), TokenTree::kNoToken);
  for (int32_t token = 0; token < size(); ++token) {
    const auto length = end(token) - begin(token);
    if (kind(token) > TokenKind::kByte || length == 0 || length > kMaxTokenBytes) continue;
    if (kind(token) == TokenKind::kNone) continue;
    if (kind(token) == TokenKind::kByte && (length != 1 || has_piece[*begin(token)])) continue;
    spelled_[static_cast<size_t>(token)] = true;
    longest_ = std::max(longest_, static_cast<int32_t>(length));
    tokens.push_back(token);
  }
  const auto text = [&](int32_t token) {
    return std::string_view(reinterpret_cast<const char*>(begin(token)),
                            static_cast<size_t>(end(token) - begin(token)));
  };
  std::sort(tokens.begin(), tokens.end(), [&](int32_t a, int32_t b) {
    const int order = text(a).compare(text(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<int32_t> first, rest, characters;
  for (const int32_t token : tokens) {
    if (!first.empty() && text(token) == text(first.back())) {
      same_[static_cast<size_t>(token)] = same_[static_cast<size_t>(first.back())];
      same_[static_cast<size_t>(first.back())] = token;
      continue;
    }
    first.push_back(token);
    const int32_t count = plain_characters(begin(token), end(token));
    const bool sliced = count > 0 && count <= kMaxSliceCharacters;
    characters.push_back(sliced ? count : 0);
    if (!sliced) rest.push_back(token);
    if (sliced) slice_count_ = std::max(slice_count_, count + 1);
  }
  all_ = TokenTree(first, bytes_.data(), offsets_.data());
  rest_ = TokenTree(rest, bytes_.data(), offsets_.data());

  slices_.resize(static_cast<size_t>(slice_count_) * mask_words());
  for (size_t i = 0; i < first.size(); ++i) {
    if (characters[i] == 0) continue;
    uint32_t* slice = slices_.data() + static_cast<size_t>(characters[i]) * mask_words();
    for (int32_t token = first[i]; token >= 0; token = same_as(token)) {
      slice[token / 32] |= uint32_t{1} << (token % 32);
    }
  }
  for (size_t i = mask_words(); i < slices_.size(); ++i) slices_[i] |= slices_[i - mask_words()];
}

const uint32_t* Vocabulary::slice(int32_t characters) const {
  const int32_t index = std::clamp(characters, 0, slice_count_ - 1);
  return slices_.data() + static_cast<size_t>(index) * mask_words();
}

}  // namespace tramontane
