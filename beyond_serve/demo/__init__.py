"""The demo model: a small digit classifier, how its images are made, how it is trained and exported.

Runs without torch; training needs the `demo` extra (scikit-learn, for its bundled digits).
"""
