# %% [markdown]
# # Playground
#
# Any photograph, any method of the course. Open one of your own or take a sample, let something
# happen to it, choose two to four methods, and look closely at what they make of it. Nothing leaves
# your machine.
#
# The picture below needs no running kernel: a cat with noise of σ = 25, and what three methods
# make of it. What you will see further down looks alike, with controls.

# %% tags=["nbsphinx-thumbnail"]
# %matplotlib inline
from lessons_lib import data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.methods import restore
from lessons_lib.viz import figures
from lessons_lib.viz.playground import playground

clean = data.sample("chelsea", size=192)
noise = GaussianNoise(25 / 255)
noisy = noise(clean, "chelsea")
shown = {"clean": clean, "noisy": noisy}
for name in ("dct", "sc-gray-25", "ffdnet-gray"):
    shown[name] = restore(name, noisy, noise)
figures.show_images(shown, clean=clean, columns=5, residual=True, width=11)

# %% [markdown]
# ## Choose, restore, compare
#
# Run the cell above and this one (Shift + Enter).
#
# - **A photograph.** PNG, JPEG, TIFF, WebP or BMP, with 8 or 16 bits. Of a large one the middle is
#   cut out; that keeps its noise as it is. Making it smaller averages noise away. (Outside of
#   `lessons play` and `course.py lab`, JupyterLab takes no file of more than 10 MB; give its path.)
# - **What happens to it.** With noise, compression, a mosaic or fewer pixels, the photograph counts
#   as clean, and each result gets its decibels. *Nothing* is for a photograph with noise of its
#   own: its strength is found from the picture, and nobody knows the clean one.
# - **Methods.** Those that can do this task here. Weights with `gray` in their name take each
#   colour for a grey picture. Weights for another noise level work, too: the picture is scaled.
# - **Compare.** Move the line: left of it is the degraded picture or any other you choose. All
#   panes share one zoom. *Differences* shows what is wrong with each, or, where no clean picture is
#   known, what each has taken away: structure in it was detail.
#
# Everything can be reached with Tab and moved with the arrow keys. Next to the decibels stand the
# seconds, and by how many megabytes the memory rose. GroupSC takes half a minute for 256 pixels in
# colour; the kernel's ■ stops it.

# %%
playground()

# %% [markdown]
# **Things to try**
#
# - A brick wall and a face, both with σ = 50: for which of them is a group of similar patches worth
#   its time?
# - `groupsc-gray-5` on noise of σ = 50, beside `groupsc-gray-50`.
# - A photograph taken at night with a telephone, *nothing* done to it. Look at the differences.
# - The same photograph, made smaller first. Where has its noise gone?
