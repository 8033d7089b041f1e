// What stays open from one job or question to the next is what is on the disk.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "library/component.h"
#include "library/library.h"
#include "library/tokenizers.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

const fs::path kEncoders = INGOT_SOURCE_DIR "/demo/models/text_encoder";
constexpr const char* kClip = "ingot-demo-clip/ingot-demo-clip.safetensors";
constexpr const char* kT5 = "ingot-demo-t5/ingot-demo-t5.safetensors";

// The demo model's encoders in a folder of its own.
class LibraryTest : public testing::Test {
 protected:
  LibraryTest() {
    INGOT_CHECK(::mkdtemp(folder_.data()) != nullptr);
    fs::copy(kEncoders, folder_, fs::copy_options::recursive);
  }
  ~LibraryTest() override { fs::remove_all(folder_); }

  fs::path Path(const char* name) const { return fs::path(folder_) / name; }

  // As a download does it: another file under the old name.
  void Replace(const fs::path& path) const {
    fs::copy_file(path, path.string() + ".part");
    fs::rename(path.string() + ".part", path);
  }

  static std::shared_ptr<const TensorFile> Open(OpenModelFiles& files, const fs::path& path) {
    const Result<ModelFile> model = files.Open(path);
    INGOT_CHECK(model.ok());
    return model->file;
  }

  std::string folder_ = testing::TempDir() + "ingot-library-XXXXXX";
};

TEST_F(LibraryTest, AFileStaysOpenWhileItIsWhatItWas) {
  OpenModelFiles files(8);
  const auto first = Open(files, Path(kClip));
  EXPECT_EQ(Open(files, Path(kClip)), first);
  Replace(Path(kClip));
  const auto second = Open(files, Path(kClip));
  EXPECT_NE(second, first);
  EXPECT_EQ(Open(files, Path(kClip)), second);
}

TEST_F(LibraryTest, AFileThatIsGoneIsNotFound) {
  OpenModelFiles files(8);
  Open(files, Path(kClip));
  fs::remove(Path(kClip));
  EXPECT_FALSE(files.Open(Path(kClip)).ok());
}

TEST_F(LibraryTest, NoMoreFilesStayOpenThanSaid) {
  OpenModelFiles files(1);
  const std::weak_ptr<const TensorFile> clip = Open(files, Path(kClip));
  EXPECT_FALSE(clip.expired());
  Open(files, Path(kT5));
  EXPECT_TRUE(clip.expired());
}

TEST_F(LibraryTest, TokenizersStayUntilAVocabularyChanges) {
  Tokenizers tokenizers;
  const auto clip = [&] { return OpenModelFile(Path(kClip))->components.at(0); };
  const auto t5 = [&] { return OpenModelFile(Path(kT5))->components.at(0); };
  const auto first = *tokenizers.Clip(clip());
  const auto pieces = *tokenizers.T5(t5());
  EXPECT_EQ(*tokenizers.Clip(clip()), first);
  EXPECT_EQ(*tokenizers.T5(t5()), pieces);
  Replace(Path("ingot-demo-clip/merges.txt"));
  EXPECT_NE(*tokenizers.Clip(clip()), first);
  EXPECT_EQ(*tokenizers.T5(t5()), pieces) << "its own vocabulary is what it was";
  std::ofstream(Path("ingot-demo-t5/spiece.model")) << "no vocabulary";
  EXPECT_FALSE(tokenizers.T5(t5()).ok());
}

TEST_F(LibraryTest, AllPartsThatLackAreNamedAtOnce) {
  const fs::path diffusion = INGOT_SOURCE_DIR "/demo/models/Stable-diffusion/ingot-demo.gguf";
  fs::remove(Path(kT5));
  const Result<ModelSet> set = ResolveModels({.models_dir = folder_, .diffusion = diffusion});
  ASSERT_EQ(set.status().code(), StatusCode::kNotFound);
  const std::string message = set.status().message();
  EXPECT_NE(message.find("expected a T5 text encoder"), std::string::npos) << message;
  EXPECT_NE(message.find("expected a VAE"), std::string::npos) << message;
  EXPECT_EQ(message.find("expected a CLIP-L"), std::string::npos) << message;
}

}  // namespace
}  // namespace ingot
