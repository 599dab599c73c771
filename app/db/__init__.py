"""Every line of SQL there is: no web."""
